"""The records of the store: keys and groups, each a node that a request must pass.

They are their own wire schema: closed, versioned by ``record``, with every member required, so
that a record of another version, with an unknown or a missing member, is corrupt and never read
with a default. Only a group without rights is written as it was before groups could have any.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, cast

import msgspec

from keybound.core.errors import InputError, RecordCorruptError
from keybound.core.keys import BASE62, base62
from keybound.core.limits import CLAUSES_MAX, Limits, LimitsData

NODE_ID_MAX = 24
RECORD_MAX = 65_536
"""Bytes of the largest record that is written or read."""

_ID_CHARACTERS = BASE62 + "_.:-"
_NAME_MAX = 200
_METADATA_MAX = 8_192

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class Node(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="record",
    gc=False,  # JSON and values: nothing in it leads back to it
):
    """What a key and a group have in common: a name, a state, and limits."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=NODE_ID_MAX)]
    name: str
    tenant: str | None
    limits: Limits
    enabled: bool
    revoked_at: Timestamp | None
    created_at: Timestamp
    metadata: dict[str, Any]

    @property
    def kind(self) -> str:
        """``key`` or ``group``."""
        return str(type(self).__struct_config__.tag).partition("/")[0]

    @property
    def above(self) -> tuple[str, ...]:
        """The ids of the nodes that a request must also pass."""
        return ()


class APIKey(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="key/1"):
    """A stored key. ``id`` is public, the key itself is nowhere, ``hint`` may be shown.

    ``parent`` is a ceiling on every request; ``issued_by`` says who made the key, checked once.
    """

    hint: str
    environment: str
    owner: str | None
    role: str | None
    parent: str | None
    groups: tuple[str, ...]
    rights: tuple[str, ...]
    issued_by: str | None

    @property
    def above(self) -> tuple[str, ...]:
        """The parent, then the groups."""
        return ((self.parent,) if self.parent is not None else ()) + self.groups


class Group(
    Node,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag="group/1",
):
    """A set of keys that share limits and a state: disabling it stops all of them at once."""

    rights: tuple[str, ...] = ()


StoredNode = APIKey | Group


def encode_node(node: StoredNode) -> bytes:
    """Return the record of a node; raises ``InputError`` when it would be too large."""
    record = _ENCODER.encode(node)
    if len(record) > RECORD_MAX:
        raise InputError(node.kind, f"{len(record):,} bytes", fix=f"at most {RECORD_MAX:,}")
    return record


def decode_node(record: bytes) -> StoredNode:
    """Return the node in a record; raises ``RecordCorruptError`` for anything but an exact one."""
    if len(record) > RECORD_MAX:
        msg = f"a stored record has {len(record):,} bytes, more than {RECORD_MAX:,}"
        raise RecordCorruptError(msg)
    try:
        node = _DECODER.decode(record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # The message of msgspec names the member and its type, never the value.
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
        msg = f"a stored record cannot be read: {reason}"
        raise RecordCorruptError(msg) from None
    if node.id.strip(
        _ID_CHARACTERS
    ):  # what is left has others; a pattern would cost as much as all
        msg = "a stored record cannot be read: its id has characters that no id has"
        raise RecordCorruptError(msg)
    return node


def new_id(kind: str, entropy: bytes) -> str:
    """Return a public id such as ``key_`` + 16 base62 characters."""
    return f"{kind}_{base62(entropy, 16)}"


def check_text(field: str, text: object, *, length_max: int = _NAME_MAX) -> str:
    """Return ``text`` if people can read all of it; raises ``InputError`` naming ``field``."""
    if not isinstance(text, str):
        raise InputError(field, f"is {type(text).__name__}", fix="write text")
    if not text.strip() or len(text) > length_max:
        raise InputError(field, f"has {len(text):,} characters", fix=f"write 1 to {length_max}")
    if not text.isprintable():
        raise InputError(field, "has characters that cannot be seen", fix="leave them out")
    return text


def check_metadata(value: object) -> dict[str, Any]:
    """Return a JSON object of at most 8 KiB; raises ``InputError``."""
    if not isinstance(value, Mapping):
        raise InputError("metadata", f"is {type(value).__name__}", fix="write an object")
    try:
        record = msgspec.json.encode(dict(cast("Mapping[object, object]", value)))
        copy: dict[str, Any] = msgspec.json.decode(record, type=dict[str, Any])
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        raise InputError("metadata", "is not JSON", fix="write an object of JSON values") from None
    if len(record) > _METADATA_MAX:
        raise InputError("metadata", f"has {len(record):,} bytes", fix=f"at most {_METADATA_MAX:,}")
    return copy


def _load(kind: type, value: object) -> object:
    """Read what is no JSON by itself: limits. Those that many nodes share are one object.

    What JSON holds is written in one way. Only what no registration can change is remembered.
    """
    if kind is not Limits:
        msg = f"no {kind.__name__} in a record"
        raise NotImplementedError(msg)
    if not isinstance(value, dict) or "lifetime" not in value:
        return _shared(value)  # pyright: ignore[reportUnknownArgumentType]
    rest = dict(cast("dict[str, object]", value))
    lifetime = rest.pop("lifetime")
    limits = _shared(rest).living(lifetime)  # many keys differ in that alone
    if limits is not None and len(limits.clauses) <= CLAUSES_MAX:
        return limits
    return Limits.load(cast("object", value))


def _shared(value: object) -> Limits:
    text = msgspec.json.encode(value)
    limits = _LIMITS.get(text)
    if limits is None:
        limits = Limits.load(value)
        if len(text) <= _LIMITS_TEXT_MAX and limits.built_in:
            if len(_LIMITS) >= _LIMITS_MAX:
                _LIMITS.clear()
            _LIMITS[text] = limits
    return limits


_LIMITS_MAX = 4_096
_LIMITS_TEXT_MAX = 512
_LIMITS: dict[bytes, Limits] = {}


def _dump(value: object) -> LimitsData:
    if isinstance(value, Limits):
        return value.dump()
    msg = f"no {type(value).__name__} in a record"
    raise NotImplementedError(msg)


_DECODER: msgspec.json.Decoder[StoredNode] = msgspec.json.Decoder(StoredNode, dec_hook=_load)
_ENCODER = msgspec.json.Encoder(enc_hook=_dump)
