"""Records: closed, versioned, and corrupt rather than read with a default."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from keybound.core.errors import InputError, RecordCorruptError
from keybound.core.limits import Limits, Unreadable
from keybound.core.nodes import (
    RECORD_MAX,
    APIKey,
    Group,
    check_metadata,
    check_text,
    decode_node,
    encode_node,
    new_id,
)
from keybound.testing.records import a_group, a_key

FULL = a_key(
    "key_1",
    tenant="acme",
    owner="u",
    role="r",
    parent="key_2",
    groups=("group_1",),
    rights=("keys:read",),
    issued_by="key_2",
    limits=Limits(methods=["GET"], expires_at="2027-01-01T00:00:00Z"),
    revoked_at=datetime(2026, 5, 1, tzinfo=UTC),
    metadata={"a": [1, {"b": None}]},
)


def members(node=FULL):
    """Return the members of the record of a node."""
    return json.loads(encode_node(node))


def read(changed):
    """Read a record made of these members."""
    return decode_node(json.dumps(changed).encode())


@pytest.mark.parametrize("node", [FULL, a_key("key_1"), a_group("group_1")])
def test_what_is_written_is_read_back_equal(node):
    """Nothing is lost and nothing is added."""
    assert decode_node(encode_node(node)) == node


@pytest.mark.parametrize("member", sorted(members()))
def test_a_record_with_a_member_missing_is_corrupt(member):
    """No member has a default: an absent limit or state would be a wide one."""
    changed = members()
    del changed[member]
    with pytest.raises(RecordCorruptError):
        read(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"record": "key/2"},
        {"record": "key"},
        {"record": "group/1"},
        {"record": None},
        {"unknown": 1},
        {"enabled": "true"},
        {"enabled": 1},
        {"revoked_at": "2026-05-01T00:00:00"},
        {"revoked_at": 0},
        {"limits": None},
        {"limits": []},
        {"groups": "group_1"},
        {"id": "key 1"},
        {"id": "key_1\n"},
        {"id": "k" * 25},
        {"metadata": []},
    ],
    ids=json.dumps,
)
def test_a_record_of_another_version_or_shape_is_corrupt(change):
    """The tag names the version, unknown members and coerced values are errors."""
    with pytest.raises(RecordCorruptError, match="cannot be read"):
        read(members() | change)


@pytest.mark.parametrize(
    "record", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 60_000, b"{}" + b" " * RECORD_MAX]
)
def test_what_is_no_record_is_corrupt(record):
    """Whatever the bytes are, the error is the one that callers know."""
    with pytest.raises(RecordCorruptError):
        decode_node(record)


def test_a_corrupt_record_is_named_without_its_values():
    """A log line about it holds nothing that was stored."""
    with pytest.raises(RecordCorruptError) as caught:
        read(members() | {"hint": 7, "owner": "a-private-name"})
    assert "a-private-name" not in str(caught.value)
    assert "hint" in str(caught.value)


def test_a_limit_that_cannot_be_read_permits_nothing():
    """The record is read, so that the key can be shown and mended; no request passes."""
    node = read(members() | {"limits": {"geo": ["de"]}})
    (clause,) = node.limits
    assert clause.describe() == "unreadable, so nothing is allowed"


def test_a_record_that_is_too_large_is_not_written():
    """What could not be read back is refused before it is stored."""
    with pytest.raises(InputError, match="bytes"):
        encode_node(a_key("key_1", metadata={"a": "b" * RECORD_MAX}))


def test_nothing_but_limits_has_a_form_of_its_own_in_a_record():
    """A value that slipped past the checks is an error, not a guess."""
    with pytest.raises(NotImplementedError, match="object"):
        encode_node(a_key("key_1", metadata={"a": object()}))


def test_a_member_of_a_foreign_type_cannot_be_declared_by_accident():
    """Whoever adds a member to a record also says how it is read."""
    from keybound.core.nodes import _load

    with pytest.raises(NotImplementedError, match="Secret"):
        _load(type("Secret", (), {}), "x")
    assert _load(Limits, {}) == Limits()


def test_a_node_cannot_be_changed():
    """Records are values: a change is a new one."""
    with pytest.raises(AttributeError, match="immutable"):
        FULL.enabled = True  # type: ignore[misc]
    assert msgspec.structs.replace(FULL, enabled=False).enabled is False


def test_kind_and_ceilings_are_read_off_the_record():
    """A group has nothing above it, a key its parent and then its groups."""
    assert (FULL.kind, FULL.above) == ("key", ("key_2", "group_1"))
    assert (a_group("group_1").kind, a_group("group_1").above) == ("group", ())
    assert a_key("key_1").above == ()
    assert {APIKey, Group} == {type(FULL), type(a_group("group_1"))}


def test_an_id_is_of_its_kind_and_fits_a_record():
    """Sixteen digits of chance."""
    one, other = new_id("key", b"\x01" * 32), new_id("group", b"\x02" * 32)
    assert one.startswith("key_")
    assert len(one) == 20
    assert decode_node(encode_node(a_group(other))).id == other


@pytest.mark.parametrize(
    "text", ["", " ", "\u3000", "a\nb", "a\u202eb", "a\x00", "x" * 201, None, 7, b"a"]
)
def test_text_that_people_cannot_read_is_refused(text):
    """Names are compared by eye, so every character of one is seen."""
    with pytest.raises(InputError) as caught:
        check_text("owner", text)
    assert caught.value.field == "owner"


def test_text_that_people_can_read_stays_as_it_is():
    """Nothing is trimmed or normalised."""
    assert check_text("name", "Zoë: キー") == "Zoë: キー"
    assert check_text("name", "x" * 200)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "a", ["a"], {"a": object()}, {1.5: object()}, {"a": "b" * 8_192}),
        pytest.param({"a": {"b": {1j: 1}}}, id="complex"),
    ],
)
def test_metadata_that_is_no_small_object_is_refused(value):
    """Up to 8 KiB of JSON, with an error of ours for everything else."""
    with pytest.raises(InputError, match="metadata"):
        check_metadata(value)


def test_metadata_is_a_copy():
    """What the caller changes later changes nothing here."""
    given = {"a": [1]}
    checked = check_metadata(given)
    given["a"].append(2)
    assert checked == {"a": [1]}


def read_again(limits):
    """Return limits as they are read from a record."""
    return decode_node(encode_node(a_key("key_1", limits=limits))).limits


def test_limits_that_keys_share_are_one_object():
    """They are read once; with a lifetime of its own, a key shares what is made of the rest."""
    rest = Limits(methods=["GET"], scopes=["rest"])
    shared = read_again(rest)
    assert shared is read_again(Limits(methods=["GET"], scopes=["rest"])) == rest
    for moment in ("2027-01-01T00:00:00Z", "2028-01-01T00:00:00.5Z"):
        limits = rest.meet(Limits(expires_at=moment))
        found = read_again(limits)
        assert found == limits
        assert found.clauses == limits.clauses, "in the same order"
        assert found.compiled is shared.compiled


@pytest.mark.parametrize(
    "lifetime",
    [
        [],
        {},
        "never",
        [{}],
        [{"expires_at": "*"}],
        [{"expires_at": "soon"}],
        [{"until": "2027-01-01T00:00:00Z"}],
        [{"expires_at": "2027-01-01T00:00:00Z"}, {"expires_at": "2028-01-01T00:00:00Z"}],
        [{"expires_at": "2027-01-01T00:00:00Z"}, "soon"],
    ],
    ids=str,
)
def test_an_odd_lifetime_is_read_as_it_is_without_others(lifetime):
    """However a record is read, it says the same, and what cannot be read permits nothing."""
    stored = {"methods": [["GET"]], "lifetime": lifetime}
    record = json.loads(encode_node(a_key("key_1"))) | {"limits": stored}
    found = decode_node(json.dumps(record).encode()).limits
    assert found == Limits.load(stored)
    readable = isinstance(lifetime, list) and len(lifetime) == 2 and "soon" not in lifetime
    assert any(isinstance(clause, Unreadable) for clause in found) is not readable


def test_limits_that_are_remembered_have_an_end(monkeypatch):
    """Memory is bounded, whatever keys there are; large ones are not kept at all."""
    monkeypatch.setattr("keybound.core.nodes._LIMITS_MAX", 10)
    kept: dict[bytes, Limits] = {}
    monkeypatch.setattr("keybound.core.nodes._LIMITS", kept)
    for number in range(25):
        read_again(Limits(scopes=[f"scope-{number}"]))
        assert len(kept) <= 10
    before = len(kept)
    read_again(Limits(scopes=[f"scope-{number}" for number in range(100)]))
    assert len(kept) == before
