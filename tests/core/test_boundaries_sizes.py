"""Sizes that are just allowed, and one more; and what errors call what is not there."""

from __future__ import annotations

import pytest

from keybound.core.ceilings import check_ceilings
from keybound.core.effects import Row
from keybound.core.errors import ExceedsCeilingError, InputError, LimitError, RecordCorruptError
from keybound.core.forwarded import read_node
from keybound.core.limits import Limits
from keybound.core.limits.clause import MEMBER_LENGTH_MAX, MEMBERS_MAX, shown
from keybound.core.nodes import RECORD_MAX, check_metadata, decode_node, encode_node
from keybound.core.proxies import read_trusted
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_key


def test_the_longest_member_and_the_longest_list_are_read():
    """One more of either is an error that says how many there may be."""
    assert Limits(scopes=["s" * MEMBER_LENGTH_MAX]) is not None
    with pytest.raises(LimitError, match="257 characters"):
        Limits(scopes=["s" * (MEMBER_LENGTH_MAX + 1)])
    assert Limits(scopes=["s"] * MEMBERS_MAX) == Limits(scopes=["s"])
    with pytest.raises(LimitError, match="1001 members"):
        Limits(scopes=["s"] * (MEMBERS_MAX + 1))
    assert len(read_trusted(["10.0.0.1"] * MEMBERS_MAX)) == MEMBERS_MAX  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1001 members"):
        read_trusted(["10.0.0.1"] * (MEMBERS_MAX + 1))


def test_a_message_shows_sixty_characters():
    """Of a longer text it shows as many, and dots."""
    assert shown("x" * 60) == repr("x" * 60)
    assert shown("x" * 61) == repr("x" * 60 + "...")


def test_a_range_of_four_networks_is_spelled_out():
    """One of more is not: nobody would copy that."""
    with pytest.raises(LimitError, match=r"write 10\.0\.0\.1/32, 10\.0\.0\.2/31"):
        Limits(networks=["10.0.0.1-10.0.0.6"])
    with pytest.raises(LimitError, match="such as"):
        Limits(networks=["10.0.0.1-10.0.0.13"])


def test_a_number_of_proxies_has_nine_digits_at_most():
    """Such a one is too many proxies; a longer one is not even a number."""
    assert read_trusted("000000002") == 2
    with pytest.raises(InputError, match="2"):
        read_trusted("0000000002")


def test_the_longest_node_of_a_proxy_is_read():
    """A port may be a name of any length, up to there."""
    longest = b"192.0.2.1:_".ljust(256, b"p")
    assert read_node(longest) == 0xC0000201
    assert read_node(longest + b"p") is None


def test_the_largest_record_is_written_and_read():
    """One byte more is neither."""
    empty = len(encode_node(a_key("key_1", metadata={"x": ""})))
    largest = a_key("key_1", metadata={"x": "a" * (RECORD_MAX - empty)})
    record = encode_node(largest)
    assert len(record) == RECORD_MAX
    assert decode_node(record) == largest
    with pytest.raises(RecordCorruptError, match="bytes"):
        decode_node(record + b" ")
    with pytest.raises(InputError, match="bytes"):
        encode_node(a_key("key_1", metadata={"x": "a" * (RECORD_MAX - empty + 1)}))


def test_the_largest_metadata_is_taken():
    """That is 8 KiB of JSON."""
    assert check_metadata({"x": "a" * (8_192 - 8)})
    with pytest.raises(InputError, match="8,193 bytes"):
        check_metadata({"x": "a" * (8_192 - 7)})


def record_with(names):
    """Return the record of a key with these methods, which are what its limits are."""
    return encode_node(a_key("key_1", limits=Limits(methods=names)))


def test_short_limits_that_nodes_share_are_one_object():
    """Up to 512 bytes of JSON, and however many others were read meanwhile."""
    around = len('{"methods":[["A",""]]}')
    longest = ["A", "B" * 256, "C" * (512 - around - 256 - len(',""'))]
    longer = [*longest[:2], longest[2] + "C"]
    for names, shared in ((["GET"], True), (longest, True), (longer, False)):
        first = decode_node(record_with(names))
        decode_node(record_with(["POST"]))
        assert (decode_node(record_with(names)).limits is first.limits) is shared


@pytest.mark.parametrize(
    ("parent", "child", "said"),
    [
        ({"limits": Limits(networks="::1")}, {}, "networks: no limit exceeds"),
        (
            {"limits": Limits(networks="::1")},
            {"limits": Limits(networks="::2")},
            "networks: ::2 exceeds",
        ),
        ({"role": "admin"}, {}, "role: none exceeds"),
        ({"role": "admin"}, {"role": "user"}, "role: user exceeds"),
        ({}, {"rights": ("can_issue",)}, r"rights: can_issue exceeds what key_p allows \(none\)"),
        (
            {"rights": ("keys:read",)},
            {"rights": ("can_issue",)},
            r"rights: can_issue exceeds what key_p allows \(keys:read\)",
        ),
    ],
)
def test_what_is_not_there_has_a_name(parent, child, said):
    """No limit is more than any, and no role and no right is said aloud."""
    above = {"key_p": Row(node=a_key("key_p", **parent), rev=1, digest=None)}
    with pytest.raises(ExceedsCeilingError, match=said):
        check_ceilings(a_key("key_c", parent="key_p", **child), above, ChainPolicy())
