"""Packed keys: what comes out is what was put in, in few bytes that nobody looks through."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from keybound.caches import packed
from keybound.caches.packed import PackedKeys, ReadKey
from keybound.core.chain import Chain
from keybound.core.limits import DIMENSIONS, Clause, Limits
from keybound.core.nodes import RECORD_MAX, decode_node, encode_node
from keybound.core.reasons import Reason
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_key

INDEX = b"index"
MOMENTS = st.datetimes(timezones=st.just(UTC))
TEXT = st.none() | st.text(max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LIMITS = st.sampled_from(
    [
        Limits(),
        Limits(scopes=["a", "b"], models={"message": "read"}),
        Limits(networks=["10.0.0.0/8", "!10.0.0.1"], methods=["GET"], read_only=True),
        Limits(hours=["mon-fri 08:00-18:00 Europe/Berlin"], header_only=True),
    ]
)
LIVES = st.sampled_from(
    [
        Limits(),
        Limits(not_before="2026-01-01T00:00:00Z"),
        Limits(not_before="1969-01-01T00:00:00Z", expires_at="2030-01-01T00:00:00.5Z"),
        Limits(expires_at="9999-01-01T00:00:00Z").meet(Limits(expires_at="2030-01-01T00:00:00Z")),
    ]
)
KEYS = st.builds(
    a_key,
    st.text("kb_0123456789", min_size=1, max_size=24),
    name=st.text(),
    tenant=TEXT,
    limits=st.builds(Limits.meet, LIMITS, LIVES),
    enabled=st.booleans(),
    revoked_at=st.none() | MOMENTS,
    created_at=MOMENTS,
    metadata=st.dictionaries(st.text(), JSON, max_size=3),
    owner=TEXT,
    role=TEXT,
    parent=TEXT,
    groups=st.lists(st.text(), max_size=3).map(tuple),
    rights=st.lists(st.text(), max_size=3).map(tuple),
    issued_by=TEXT,
)


def values_of(key):
    """Return what a key is, whatever class of key it is of."""
    return {name: getattr(key, name) for name in key.__struct_fields__}


@given(KEYS, st.integers(0, 2**63 - 1))
def test_a_key_comes_out_as_it_was_put_in(key, rev):
    """Every value of it, and the revision at which it was read."""
    keys = PackedKeys(10)
    keys.put(INDEX, rev, key)
    found = keys.get(INDEX)
    assert found is not None
    assert found.rev == rev
    assert values_of(found.key) == values_of(decode_node(encode_node(key)))
    assert (found.key.kind, found.key.above) == (key.kind, key.above)


def test_keys_that_differ_in_their_lifetime_alone_share_the_rest():
    """So what is made of limits once is not made of them again."""
    limits, keys = Limits(scopes=["a"]), PackedKeys(10)
    lives = [Limits(expires_at=f"2030-01-0{day}T00:00:00Z") for day in range(1, 4)]
    for number, life in enumerate(lives):
        key = a_key(f"key_{number}", limits=limits.meet(life))
        keys.put(b"%d" % number, 1, key)
    chains = [Chain(keys.get(b"%d" % number).key, {}, ChainPolicy()) for number in range(3)]
    assert len({id(chain.key.limits.compiled) for chain in chains}) == 1
    assert [chain.key.limits.describe()["lifetime"] for chain in chains] == [
        f"until 2030-01-0{day}T00:00:00Z" for day in range(1, 4)
    ]


def test_other_limits_than_those_that_are_numbered_are_kept_as_well(monkeypatch):
    """They take more room, and nothing is lost."""
    monkeypatch.setattr(packed, "NUMBERED_MAX", 1)
    keys = PackedKeys(10)
    several = [a_key(f"key_{number}", limits=Limits(scopes=[f"s{number}"])) for number in range(3)]
    for key in several:
        keys.put(key.id.encode(), 1, key)
    assert [keys.get(key.id.encode()).key.limits for key in several] == [
        key.limits for key in several
    ]


@dataclass(frozen=True, slots=True)
class Quota(Clause):
    """A limit that equals every other, and has no hash that says which it is."""

    dimension = "quota"

    allowed: list[str] = field(compare=False)

    def __hash__(self) -> int:
        """Refuse."""
        msg = "a list has no hash"
        raise TypeError(msg)

    @classmethod
    def parse(cls, value, /):
        """Read names."""
        return cls(value)

    def permits(self, facts, _now, /):
        """Permit one of the paths."""
        return facts.path in self.allowed

    def covers(self, other, /):
        """Cover equals."""
        return self.allowed == other.allowed

    def reason(self, _facts, _now, /):
        """Say so."""
        return Reason.LIMIT_INVALID

    def describe(self):
        """Name them."""
        return ", ".join(self.allowed)

    def dump(self):
        """Return them."""
        return self.allowed


def test_limits_of_a_sites_own_are_not_taken_for_each_other(monkeypatch):
    """Whatever they say of being equal, and though they have no hash."""
    monkeypatch.setitem(DIMENSIONS, "quota", Quota)
    keys = PackedKeys(10)
    for name in ("/a", "/b"):
        keys.put(name.encode(), 1, a_key("key_1", limits=Limits.of_clauses([Quota([name])])))
    found = [keys.get(name).key.limits.clauses[0].allowed for name in (b"/a", b"/b")]
    assert found == [["/a"], ["/b"]]


def test_a_key_takes_few_bytes_and_no_collection_looks_at_it():
    """Neither at what is packed, nor at the dictionary that it is in."""
    zone = timezone(timedelta(hours=2))
    limits = Limits(scopes=["a"], networks=["10.0.0.0/8"], expires_at="2030-01-01T00:00:00Z")
    keys = PackedKeys(10)
    key = a_key("key_0123456789abcdef", limits=limits, created_at=datetime(2026, 1, 1, tzinfo=zone))
    keys.put(INDEX, 1, key)
    assert not gc.is_tracked(keys._packed)  # noqa: SLF001 - that is the promise
    assert len(keys._packed[INDEX]) < 120  # noqa: SLF001 - the same
    assert keys.get(INDEX).key.created_at == key.created_at


def test_those_put_in_first_make_room():
    """A few at a time, and a key that is there already needs none."""
    keys = PackedKeys(3)
    for number in range(3):
        keys.put(b"%d" % number, number, a_key("key_1"))
    keys.put(b"0", 7, a_key("key_1"))
    assert [len(keys), keys.get(b"0").rev] == [3, 7]
    keys.put(b"3", 3, a_key("key_1"))
    assert [b"%d" % number in keys for number in range(4)] == [False, True, True, True]


def test_what_there_is_no_room_for_is_not_held():
    """Nor what is longer than any record."""
    none = PackedKeys(0)
    none.put(INDEX, 1, a_key("key_1"))
    assert INDEX not in none
    keys = PackedKeys(1)
    keys.put(INDEX, 1, a_key("key_1", limits=Limits(scopes=["a"]), metadata={"a": 2**70}))
    assert keys.get(INDEX).key.metadata == {"a": 2**70}
    keys.put(b"long", 1, a_key("key_1", metadata={"a": 2**70, "b": "x" * RECORD_MAX}))
    assert keys.get(b"long") is None
    assert INDEX in keys


def test_what_is_nested_too_deep_is_not_held():
    """Whoever makes room for another key, or asks for this one, may stand on a deep stack."""

    def deeper(by, work):
        return work() if by == 0 else deeper(by - 1, work)

    nested: list[object] = []
    for _ in range(300):
        nested = [nested]
    key, deep = a_key("key_1", metadata={"a": nested}), sys.getrecursionlimit() - 250
    keys = PackedKeys(10)
    deeper(deep, lambda: keys.put(INDEX, 1, key))
    if sys.version_info < (3, 12):  # since then, C has a stack of its own
        assert keys.get(INDEX) is None
    keys.put(INDEX, 1, key)
    assert keys.get(INDEX).key.metadata == {"a": nested}
    assert deeper(deep, lambda: keys.get(INDEX)) in [None, keys.get(INDEX)]


def test_what_is_dropped_is_gone():
    """And what is put in after it is what comes out."""
    keys = PackedKeys(10)
    keys.put(INDEX, 1, a_key("key_1", limits=Limits(scopes=["a"])))
    keys.drop(INDEX)
    assert keys.get(INDEX) is None
    keys.put(INDEX, 2, a_key("key_2", limits=Limits(scopes=["b"])))
    assert keys.get(INDEX) == ReadKey(2, keys.get(INDEX).key)
    assert keys.get(INDEX).key.limits == Limits(scopes=["b"])


@given(
    KEYS.map(lambda key: structs.replace(key, metadata={})).filter(
        lambda key: len(key.limits.lives) <= 1
    ),
    st.integers(0, 2**63 - 1),
    st.floats(allow_nan=False),
)
def test_what_terms_decide_on_is_seen_without_unpacking_the_key(key, rev, ends):
    """Its id, when it was read, and until when; all of it comes out as well."""
    keys, terms = PackedKeys(10), Chain(a_key("key_1"), {}, ChainPolicy()).terms
    keys.put(INDEX, rev, key, terms=terms, ends=ends)
    seen = keys.peek(INDEX)
    assert (seen.id, seen.rev, seen.terms, seen.ends) == (key.id, rev, terms, ends)
    assert values_of(seen.unpack()) == values_of(keys.get(INDEX).key)
    assert seen.unpack() is seen.unpack()


@pytest.mark.parametrize(
    ("key_id", "metadata"),
    [("key_1", {"a": 1 << 70}), ("é" * 16, {})],
    ids=["a record", "an id of long letters"],
)
def test_what_is_not_seen_like_that_is_kept_all_the_same(key_id, metadata):
    """Its id is not where it would be looked for."""
    key = a_key(key_id, metadata=metadata)
    keys, terms = PackedKeys(10), Chain(key, {}, ChainPolicy()).terms
    keys.put(INDEX, 1, key, terms=terms)
    assert keys.peek(INDEX) is None
    assert keys.get(INDEX).key.id == key.id


def test_so_many_terms_are_numbered(monkeypatch):
    """Keys of others are kept, and compiled for each request."""
    monkeypatch.setattr(packed, "TERMS_MAX", 1)
    keys, limits = PackedKeys(10), Limits()
    for name in ("a", "b", "a"):
        key = a_key(f"key_{name}", tenant=name, limits=limits)
        keys.put(name.encode(), 1, key, terms=Chain(key, {}, ChainPolicy()).terms)
    assert keys.peek(b"a").id == "key_a"
    assert keys.peek(b"b") is None
    assert keys.get(b"b").key.id == "key_b"


def test_what_was_put_in_without_terms_is_decided_on_otherwise():
    """Nobody said that they alone decide."""
    keys = PackedKeys(10)
    keys.put(INDEX, 1, a_key("key_1"))
    assert keys.peek(INDEX) is None
