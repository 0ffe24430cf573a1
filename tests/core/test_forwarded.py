"""X-Forwarded-For and Forwarded: entries that are exactly addresses, and everything else."""

from __future__ import annotations

from time import perf_counter

import pytest

from keybound.core.clients import ClientAddress
from keybound.core.facts import pack_address
from keybound.core.forwarded import (
    ENTRIES_MAX,
    PARAMETERS_MAX,
    VALUE_MAX,
    read_entry,
    read_node,
    rewritten,
    split_forwarded,
    split_list,
)
from tests.core.proxied import asked
from tests.core.speed import SLOW as LONGER

GARBAGE = [
    *("", "unknown", "_x", "203.7", "1.2.3", "1.2.3.4.5", "3405803783", "203.0.113.07", "0x7f.1"),
    *("fe80::1%eth0", "fe80::1%25;DROP", "[fe80::1%1]", "1.2.3.4 ", "1.2.3.4:", "1.2.3.4:x"),
    *("1.2.3.4:123456", "1.2.3.4:-1", "1.2.3.4/32", "[1.2.3.4]", "[1.2.3.4]:80", "[::1", "::1]"),
    *("[]", "[:]", "[::1]80", "[::1]:", "[::1]:x", "[[::1]]", "[::1]:80:80", '"1.2.3.4"'),
    *("1.2.3.4\n", "::1\n", "1.2.3.4\0", "localhost", ":80", ":::", "1::2::3", "12345::", "*"),
    *("1.2.3.4\xa0", "\xb2.2.3.4", "::ffff:1.2.3", "1:2:3:4:5:6:7:8:9", "256.1.1.1", "for=1.2.3.4"),
]


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("203.0.113.7:0", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:51234", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:cb00:7107]:80", "203.0.113.7"),
        ("0000:0000:0000:0000:0000:ffff:255.255.255.255", "255.255.255.255"),
        ("::", "::"),
    ],
)
def test_an_entry_is_an_address_and_perhaps_a_port(entry: str, address: str):
    """Brackets are for IPv6; a mapped address is the IPv4 address it maps."""
    assert read_entry(entry.encode()) == pack_address(address)


@pytest.mark.parametrize("entry", GARBAGE, ids=ascii)
def test_what_is_not_exactly_an_address_is_none(entry: str):
    """No reading that is merely likely: the client would be somebody else."""
    assert read_entry(entry.encode("latin-1")) is None
    assert read_node(entry.encode("latin-1")) is None


def test_ports_may_have_names_in_forwarded_alone():
    """RFC 7239 section 6.3; and there, IPv6 has brackets."""
    for node, entry in (("1.2.3.4:_a.B-9", None), ("[::1]:_x", None), ("::1", 1)):
        assert (read_entry(node.encode()) is None) is (entry is None)
    assert read_node(b"1.2.3.4:_a.B-9") == pack_address("1.2.3.4")
    assert read_node(b"[::1]:_x") == pack_address("::1")
    assert read_node(b"1.2.3.4:_") is None
    assert read_node(b"::1") is None
    assert read_node(b"1.2.3.4:_" + b"x" * 300) is None


def test_a_list_keeps_its_empty_entries():
    """Between two commas somebody said nothing, which is not the same as nobody."""
    assert split_list(b"") == [b""]
    assert split_list(b" a ,\t, b,") == [b"a", b"", b"b", b""]


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        ("for=203.0.113.7", ["203.0.113.7"]),
        ("FOR=203.0.113.7;Proto=https;by=_hidden", ["203.0.113.7"]),
        ('for=192.0.2.43, for="[2001:db8:cafe::17]"', ["192.0.2.43", "[2001:db8:cafe::17]"]),
        ('proto=http;for="192.0.2.60:80"', ["192.0.2.60:80"]),
        (r'for="\"203.0.113.7"', [r"\"203.0.113.7"]),
        ('by="a,b;for=1.2.3.4\\",";for=x', ["x"]),
        ('for=a\t ,  for=""', ["a", ""]),
        ("proto=https", [""]),
        ("", [""]),
        (" for=a ", ["a"]),
        ("for=a,, for=b,", ["a", "", "b", ""]),
        ("for=a;;proto=b;", ["a"]),
        ('host="caf\xe9";for=a', ["a"]),
        ("x!#$%&'*+-.^_`|~=a;for=b", ["b"]),
    ],
)
def test_elements_say_for_whom(value: str, nodes: list[str]):
    """Names have no case, quoted text may hold anything, and the order of parameters is free."""
    assert split_forwarded(value.encode("latin-1")) == [node.encode() for node in nodes]


@pytest.mark.parametrize(
    "value",
    [
        *('for="203.0.113.7', 'for="', 'for="a\\"', 'for="\\', 'for="a"b', 'for="a" b', 'for=a"b"'),
        *("for=2001:db8::7", "for=[2001:db8::7]", "for=1.2.3.4:80", "for=a;for=b", "for=a;FOR=a"),
        *("proto=a;for=b;proto=c", "for=a for=b", "for=a ;by=b", "for=a; by=b", "for =a", "for= a"),
        *(
            "for",
            "for=",
            "=a",
            "for==a",
            "for=a;by",
            "for=a/b",
            "for=a\n",
            'for="a\nb"',
            'for="\0"',
        ),
        *(
            'for="\x7f"',
            'for="\\\x01"',
            "for=caf\xe9",
            "\xe9=a",
            "for=a, by",
            "for='a b'",
            "203.0.113.7",
        ),
    ],
    ids=ascii,
)
def test_a_syntax_error_makes_the_whole_header_unreadable(value: str):
    """Whoever closes a quote that another opened would write that other's element."""
    assert split_forwarded(value.encode("latin-1")) is None
    assert split_forwarded(b"for=10.0.0.1, " + value.encode("latin-1")) is None
    assert split_forwarded(value.encode("latin-1") + b", for=10.0.0.1") is None


def test_what_is_escaped_is_meant():
    """Quoted pairs stand for the character behind the backslash."""
    clients = ClientAddress.parse("forwarded", 1)
    for line, client in ((rb'for="\1.2.3\.4"', "1.2.3.4"), (rb'for="\"203.0.113.7"', None)):
        assert clients.of(asked(None, line, header="forwarded")) == client


def test_the_longest_list_is_read_and_no_longer_one():
    """Bytes, entries and parameters have bounds, within which everything counts."""
    entry, element = b"10.0.0.1", b"for=10.0.0.1"
    assert len(split_list(b",".join([entry] * ENTRIES_MAX)) or ()) == ENTRIES_MAX
    assert split_list(b",".join([entry] * (ENTRIES_MAX + 1))) is None
    assert len(split_forwarded(b",".join([element] * ENTRIES_MAX)) or ()) == ENTRIES_MAX
    assert split_forwarded(b",".join([element] * (ENTRIES_MAX + 1))) is None
    assert split_list(b" " * VALUE_MAX) == [b""]
    assert split_list(b" " * (VALUE_MAX + 1)) is None
    assert split_forwarded(b" " * VALUE_MAX) == [b""]
    assert split_forwarded(b" " * (VALUE_MAX + 1)) is None
    assert split_forwarded(b";" * PARAMETERS_MAX) == [b""]
    assert split_forwarded(b";" * (PARAMETERS_MAX + 1)) is None


SLOW = {
    "60 kB of backslashes": b'for="' + b"\\" * 60_000,
    "backslashes": b'for="' + b"\\" * (VALUE_MAX - 5),
    "escaped backslashes": b'for="' + b"\\\\" * 4_000 + b'"',
    "escaped letters": b'for="' + b"\\a" * 4_000,
    "letters and backslashes": b'for="' + b"a\\" * 4_000 + b"b",
    "escaped quotes": b'for="' + b'\\"' * 4_000,
    "quotes": b'for="' + b'"' * 8_000,
    "blanks": b"for=a" + b" " * 8_000 + b"x",
    "a name": b"a" * VALUE_MAX,
    "semicolons": b";" * PARAMETERS_MAX + b"for=10.0.0.1",
    "parameters": b";".join(b"%x=a" % n for n in range(PARAMETERS_MAX)),
    "elements": b",".join([b'for="10.0.0.1:80"'] * ENTRIES_MAX),
    "entries": b",".join([b"10.0.0.1"] * ENTRIES_MAX),
    "brackets": b"[" * VALUE_MAX,
    "colons": b":" * VALUE_MAX,
    "digits": b"1" * VALUE_MAX,
    "quoted colons": b'for="[' + b":" * 8_000 + b'"',
}


@pytest.mark.parametrize("value", SLOW.values(), ids=SLOW.keys())
def test_no_value_takes_long(value: bytes):
    """Every one of these is over in less than a millisecond, as the best of some shows."""
    for header in ("forwarded", "x-forwarded-for"):
        clients = ClientAddress.parse(header, ["10.0.0.0/8"])
        head = asked("10.0.0.1", value, header=header)
        times = []
        for _ in range(20):
            start = perf_counter()
            clients.of(head)
            times.append(perf_counter() - start)
        assert min(times[1:]) < 0.001 * LONGER


@pytest.mark.parametrize(
    ("client", "lines", "told"),
    [
        (("203.0.113.7", 0), [b"203.0.113.7"], True),
        (("203.0.113.7", "0"), [b"203.0.113.7"], True),  # a server that gives ports as text
        (["203.0.113.7", 0], [b"junk"], True),
        (("203.0.113.7", 99), [b"10.0.0.1", b"203.0.113.7:99, 10.0.0.2"], True),
        (("2001:db8::7", 99), [b"[2001:db8::7]:99"], True),
        (("203.0.113.7", 0), [], False),  # there was nothing to take it from
        (("203.0.113.7", 50_000), [b"203.0.113.7"], False),
        (("10.0.0.1", "50000"), [b"203.0.113.7, 10.0.0.1"], False),
        (("203.0.113.7", 99), [b"203.0.113.7:98"], False),
        (("203.0.113.7", 99), [b"203.0.113.7:99" + b"," * 200], False),
        (("", "0"), [b"203.0.113.7"], False),  # a unix socket
        ((None, None), [b"203.0.113.7"], False),
        (("203.0.113.7", None), [b"203.0.113.7"], False),
        (("203.0.113.7",), [b"203.0.113.7"], False),
        (("\ud800", 1), [b"203.0.113.7"], False),
        ((), [b"203.0.113.7"], False),
        (None, [b"203.0.113.7"], False),
    ],
)
def test_a_server_that_names_the_client_itself_is_noticed(
    client: list[object] | None,
    lines: list[bytes],
    told: bool,  # noqa: FBT001
):
    """Its port is 0, or stands in the header: no connection looks like that by itself."""
    assert rewritten(client, lines) is told
