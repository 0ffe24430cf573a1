"""Edges of what is read: lengths that are just allowed, and places that are just none."""

from __future__ import annotations

import pytest

from keybound.core.bodies import head_allows
from keybound.core.credentials import parse_forms
from keybound.core.decision import Allowed, Denied, both
from keybound.core.effects import LogHead
from keybound.core.errors import InputError, SettingsError
from keybound.core.facts import IPV6_BASE, pack_address
from keybound.core.fence import Fence
from keybound.core.hosts import Hosts, read_host
from keybound.core.keys import KeyFormat
from keybound.core.limits import Limits
from keybound.core.models_of import called
from keybound.core.nodes import encode_node
from keybound.core.places import Places
from keybound.core.reasons import Reason
from keybound.core.secret import Secret
from keybound.core.shared import VALUE_MAX, SharedRecords
from keybound.testing.records import a_key
from tests.core.heads import FakeHead

PLACES = Places(parse_forms(["bearer", "header(X-Key)", "query(key)", "cookie(key)"]))


def test_the_longest_address_is_one():
    """Six groups and an IPv4 address are 45 characters."""
    longest = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
    assert len(longest) == 45
    assert pack_address(longest) == IPV6_BASE + (1 << 128) - 1
    assert pack_address(f"0{longest}") is None


@pytest.mark.parametrize(
    ("raw", "in_header"),
    [
        (b"Bearer x", True),
        (b"\0header x-key\0x", True),
        (b"\0query key\0x", False),
        (b"\0cookie key\0x", False),
        (None, True),
        (Reason.DUPLICATE_CREDENTIALS, True),
    ],
    ids=repr,
)
def test_a_query_and_a_cookie_are_no_header(raw, in_header):
    """What is not there at all is refused for that, and not for its place."""
    assert PLACES.in_header(raw) is in_header


def test_headers_are_handed_on_without_those_that_carry_keys():
    """Whole ones are gone, of cookies only the key; without such forms cookies stay as they are."""
    headers = [
        *((b"authorization", b"Bearer x"), (b"x-key", b"x"), (b"x-keys", b"1"), (b"host", b"h")),
        *((b"cookie", b"a=1; key=x"), (b"cookie", b"key=x")),
    ]
    assert PLACES.headers == {b"authorization", b"x-key"}
    kept = [(b"x-keys", b"1"), (b"host", b"h"), (b"cookie", b"a=1")]
    assert PLACES.without_headers(headers) == kept
    bearer = Places(parse_forms(["bearer"]))
    assert bearer.headers == {b"authorization"}
    assert bearer.without_headers(headers) == headers[1:]


def test_a_floor_that_is_there_already_is_not_raised():
    """Nothing that is cached need be looked at again for it."""
    fence = Fence(floors_max=2)
    fence.raise_floor("a", 5)
    assert fence.take_raised() == {"a"}
    fence.raise_floor("a", 5)
    assert fence.take_raised() == set()
    fence.raise_floor("a", 6)
    assert fence.take_raised() == {"a"}


def test_as_many_floors_as_there_is_room_for_raise_no_other():
    """One more, and those that are forgotten are a floor for everybody."""
    fence = Fence(floors_max=2)
    fence.raise_floor("a", 5)
    fence.raise_floor("b", 7)
    assert fence.floor("c") == 0
    fence.raise_floor("c", 9)
    assert fence.floor("d") == 7


def test_the_longest_value_of_redis_is_read():
    """One byte more is not, whoever wrote it."""
    records, epoch = SharedRecords(Secret("a-secret-of-the-tests-0123456789")), bytes(16)
    name, head = records.key_name(epoch, bytes(32)), LogHead(1, b"tag", epoch)
    node = a_key("key_1", metadata={"x": "a" * 65_000})
    rest = VALUE_MAX - len(records.encode(name, node, head, ()))
    assert len(encode_node(node)) < VALUE_MAX
    longest = records.encode(name, node, head, ["b" * rest])
    assert len(longest) == VALUE_MAX
    read = records.decode(name, epoch, longest)
    assert read is not None
    assert read.node == node
    longer = records.encode(name, node, head, ["b" * (rest + 1)])
    assert records.decode(name, epoch, longer) is None


def test_an_example_is_one_of_the_setting_that_is_wrong():
    """Whoever reads the error may copy it."""
    with pytest.raises(SettingsError, match=r"environment.*for example 'live'"):
        KeyFormat(environment="LIVE")
    with pytest.raises(SettingsError, match=r"prefix.*for example 'kb'"):
        KeyFormat(prefix="KB")


def test_two_requests_in_one_are_refused_for_the_first_that_is():
    """Only if both are allowed the whole is, for as long as that holds."""
    allowed = Allowed("somebody", 1.0, 9.0)  # type: ignore[arg-type]
    one, two = Denied(Reason.METHOD_NOT_ALLOWED), Denied(Reason.MODEL_NOT_ALLOWED)
    assert both(one, two) is one
    assert both(one, allowed) is one
    assert both(allowed, two) is two
    assert both(allowed, allowed) == allowed


def test_what_two_requests_in_one_report_is_reported_together():
    """Such a decision is not remembered, so that it is reported every time."""
    one, two = Denied(Reason.METHOD_NOT_ALLOWED), Denied(Reason.MODEL_NOT_ALLOWED)
    first = Allowed("somebody", 1.0, 9.0, (one,))  # type: ignore[arg-type]
    second = Allowed("somebody", 1.0, 9.0, (two,))  # type: ignore[arg-type]
    plain = Allowed("somebody", 1.0, 9.0)  # type: ignore[arg-type]
    assert both(first, second).reported == (one, two)
    for found in (both(first, plain), both(plain, first)):
        assert found.reported == (one,)
        assert found.begins == found.ends


def test_the_longest_host_is_read():
    """A name of 253 characters, a dot, and a port of five digits."""
    name = b".".join([b"a" * 63] * 3 + [b"a" * 61])
    assert len(name) == 253
    assert read_host(name + b".:65535") == name.decode()
    assert read_host(b"a" + name) is None


def test_the_longest_host_may_be_a_tenants():
    """A setting that names one more character names no host."""
    name = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert Hosts.parse([(name, "acme")], field="tenant_from").tenant(name) == "acme"
    with pytest.raises(InputError, match="is no host name"):
        Hosts.parse([(f"a{name}", "acme")], field="tenant_from")


def test_the_length_of_a_body_has_few_digits():
    """As many as a number of 64 bits has in any case; zeros before it count."""
    for digits, worth in ((b"5".rjust(18, b"0"), True), (b"5".rjust(19, b"0"), False)):
        assert head_allows(b"application/json", None, digits, 5) is worth
    assert head_allows(b"application/json", None, b"6", 5) is False


def test_a_function_may_name_a_model_often():
    """But not for ever: it is not asked for more than ten times as many as there may be."""
    for times, models in ((1_000, ("m",)), (1_001, ())):
        named = ["m"] * times
        assert called(lambda _head, named=named: iter(named), FakeHead()) == models  # type: ignore[misc]


def test_one_moment_is_replaced_where_the_other_is_open():
    """What is open stays open."""
    earlier, later = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
    for name in ("not_before", "expires_at"):
        changed = Limits.read({name: earlier}).replaced({name: Limits.read({name: later})})
        assert changed == Limits.read({name: later})
