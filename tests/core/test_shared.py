"""Records of the shared cache: good for their name alone, whole, and under one secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.effects import LogHead
from keybound.core.errors import InputError
from keybound.core.keys import derive
from keybound.core.nodes import RECORD_MAX
from keybound.core.secret import Secret
from keybound.core.shared import VALUE_MAX, SharedRecord, SharedRecords
from keybound.testing.records import a_digest, a_group, a_key

SECRET = Secret("a-secret-of-the-tests-0123456789-abcdef")
EPOCH = b"e" * 16
HEAD = LogHead(7, b"tag", EPOCH)
KEY = a_key("key_1", groups=("group_1",))

RECORDS = SharedRecords(SECRET)
NAME = RECORDS.key_name(EPOCH, a_digest(1))
VALUE = RECORDS.encode(NAME, KEY, HEAD, ["group_1", "group_2"])


def test_a_record_is_read_as_it_was_written():
    """Node, revision and what stands above."""
    found = RECORDS.decode(NAME, EPOCH, VALUE)
    assert found == SharedRecord(KEY, HEAD, ("group_1", "group_2"))
    alone = RECORDS.encode(NAME, KEY, HEAD, [])
    assert RECORDS.decode(NAME, EPOCH, alone) == SharedRecord(KEY, HEAD, ())


def test_the_revision_stands_where_the_server_compares_it():
    """A later one is the greater text, up to the largest a database can count to."""
    values = [RECORDS.encode(NAME, KEY, HEAD._replace(rev=rev), []) for rev in (9, 10, 2**63 - 1)]
    assert [value[:21] for value in values] == sorted(value[:21] for value in values)
    assert values[1][:21] == b"1" + b"0" * 18 + b"10"


def test_a_name_says_nothing_but_the_epoch():
    """Names of one thing differ by epoch, kind and secret, and cannot be made without it."""
    other = SharedRecords(Secret("another-secret-of-the-tests-0123456789"))
    names = {
        NAME,
        RECORDS.key_name(EPOCH[1:] + b"f", a_digest(1)),
        RECORDS.key_name(EPOCH, a_digest(2)),
        RECORDS.node_name(EPOCH, "key_1"),
        RECORDS.node_name(EPOCH, a_digest(1).decode("latin-1")),
        other.key_name(EPOCH, a_digest(1)),
    }
    assert len(names) == 6
    assert {len(name) for name in names} == {len(NAME)}
    assert NAME.startswith(b"keybound:1:" + EPOCH.hex().encode() + b":")
    assert a_digest(1).hex().encode() not in NAME


@given(st.integers(0, len(VALUE) - 1), st.integers(1, 255))
def test_a_record_with_any_other_byte_is_none(place, change):
    """Whoever can write to Redis cannot change one."""
    damaged = bytearray(VALUE)
    damaged[place] ^= change
    assert RECORDS.decode(NAME, EPOCH, bytes(damaged)) is None


@given(st.integers(0, len(VALUE) - 1))
def test_a_part_of_a_record_is_none(length):
    """Nor one with something behind it."""
    assert RECORDS.decode(NAME, EPOCH, VALUE[:length]) is None
    assert RECORDS.decode(NAME, EPOCH, VALUE + VALUE[:length] + b"x") is None


@given(st.binary(max_size=200))
def test_anything_else_is_none(value):
    """It is never an error."""
    assert RECORDS.decode(NAME, EPOCH, value) is None


def test_a_record_under_another_name_is_none():
    """Another key's, another node's, or that of another epoch."""
    for name in (
        RECORDS.key_name(EPOCH, a_digest(2)),
        RECORDS.node_name(EPOCH, "key_1"),
        RECORDS.key_name(b"f" * 16, a_digest(1)),
    ):
        assert RECORDS.decode(name, EPOCH, VALUE) is None


def test_a_record_of_another_secret_is_none():
    """A retired secret's records are read from the store once more."""
    other = SharedRecords(Secret("another-secret-of-the-tests-0123456789"))
    assert other.decode(NAME, EPOCH, VALUE) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x03",
        b"\x03tag\x00\x00",
        b"\x03tag\x00\x00{}",
        b"\x03tag\x00\x02\xff\xff{}",
        b"\x03tag\x00\x00" + b'{"record":"key/2"}',
    ],
)
def test_what_another_version_of_ours_wrote_is_none(body):
    """It is authentic, and not for us."""
    start = b"1" + b"7".rjust(20, b"0")
    value = start + RECORDS._mac(NAME, start, body) + body  # noqa: SLF001 - with the right secret
    assert RECORDS.decode(NAME, EPOCH, value) is None
    letters = b"1" + b"x" * 20
    value = letters + RECORDS._mac(NAME, letters, VALUE[53:]) + VALUE[53:]  # noqa: SLF001
    assert RECORDS.decode(NAME, EPOCH, value) is None


def test_the_largest_record_fits_and_nothing_larger_is_read():
    """With 32 ids above it, and whatever surrounds a record."""
    members = {"note": "x" * (RECORD_MAX - 400)}
    large = a_group("group_1", metadata=members)
    value = RECORDS.encode(NAME, large, HEAD._replace(tag=b"t" * 255), ["n" * 24] * 32)
    assert len(value) <= VALUE_MAX
    assert RECORDS.decode(NAME, EPOCH, value) is not None
    start, body = value[:21], value[53:].ljust(VALUE_MAX, b" ")
    padded = start + RECORDS._mac(NAME, start, body) + body  # noqa: SLF001 - with the right secret
    assert RECORDS.decode(NAME, EPOCH, padded) is None
    with pytest.raises(InputError, match="at most 65,536"):
        RECORDS.encode(NAME, a_group("group_1", metadata={"note": "x" * RECORD_MAX}), HEAD, [])


def test_keys_of_purposes_differ():
    """What names are made under proves no record."""
    assert derive(SECRET, b"shared names") != derive(SECRET, b"shared records")
