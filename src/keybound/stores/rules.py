"""What every store does alike: how it begins, what makes a commit conflict, what is logged."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from keybound.core.effects import Installation, LogHead, Row, UsageRow, absence_id
from keybound.core.errors import (
    ConflictError,
    RecordCorruptError,
    StoreError,
    StoreMissingError,
)
from keybound.core.nodes import decode_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.effects import Commit

HISTORY_MAX = 10_000
"""Revisions whose changes and tags a store keeps; a worker further behind forgets all it knows."""

_PRUNE_EVERY = 100
_BYTES = 16
_MOMENTS_END = 253_402_300_800
"""The end of the year 9999, in POSIX seconds."""
_VERSION_BYTES = 6
"""As many as every reader of numbers keeps exactly."""

T = TypeVar("T")


class Origin(NamedTuple):
    """The random values with which a store begins, at revision 0."""

    installation: bytes
    tag: bytes
    epoch: bytes


def originate(entropy: bytes) -> Origin:
    """Return three values made from one draw, none of which tells anything of another."""
    return Origin(
        *(
            blake2b(entropy, digest_size=_BYTES, person=name.encode()).digest()
            for name in Origin._fields
        )
    )


def check_commit(effect: Commit, revs: Mapping[str, int], owners: Mapping[bytes, str]) -> None:
    """Raise ``ConflictError`` unless everything is still as it was when the commit was decided on.

    ``revs`` has the last revision of every stored node that the commit names, ``owners`` the node
    of every stored digest that it names.
    """
    for put in effect.puts:
        _check_rev(put.node.id, put.expected, revs)
    for node, rev in effect.ceilings:
        _check_rev(node, rev, revs)
    owners = dict(owners)
    written: set[str] = set()
    for put in effect.puts:
        if put.node.id in written:
            msg = f"{put.node.id} is written twice in one commit"
            raise ConflictError(msg)
        written.add(put.node.id)
        if put.digest is not None and owners.setdefault(put.digest, put.node.id) != put.node.id:
            msg = f"{put.node.id} has the digest of {owners[put.digest]}: they are the same key"
            raise ConflictError(msg)


def logged(effect: Commit) -> list[str]:
    """Return the names under which a commit is logged.

    They are every node it writes, and the absence that each digest it gives brings to an end.
    """
    names: list[str] = []
    for put in effect.puts:
        names.append(put.node.id)
        if put.digest is not None:
            names.append(absence_id(put.digest))
    return names


def unstamped_rev(tag: bytes) -> int:
    """Return the version of a node whose change has no revision yet; as random as the tag."""
    return -1 - int.from_bytes(tag[:_VERSION_BYTES])


def forgets_through(rev: int, history_max: int) -> int | None:
    """Return the last revision whose history goes when ``rev`` is committed, if any goes."""
    return rev - history_max if rev % _PRUNE_EVERY == 0 and rev > history_max else None


def read_row(node_id: object, record: object, rev: object, digest: object) -> Row:
    """Return a stored node; raises ``RecordCorruptError`` naming the one that cannot be read.

    A database may hold values of any type, so none is relied on.
    """
    if not isinstance(record, bytes) or not isinstance(rev, int):
        msg = f"{node_id}: its record or its revision is of another type than what was written"
        raise RecordCorruptError(msg)
    if not isinstance(digest, bytes | None):
        msg = f"{node_id}: its digest is of another type than what was written"
        raise RecordCorruptError(msg)
    try:
        node = decode_node(record)
    except RecordCorruptError as error:
        msg = f"{node_id}: {error}"
        raise RecordCorruptError(msg) from None
    if node.id != node_id:
        msg = f"{node_id}: its record is that of {node.id}"
        raise RecordCorruptError(msg)
    return Row(node, rev, digest)


def read_head(location: str, *, rev: object, tag: object, epoch: object) -> LogHead:
    """Return where a store stands; raises ``StoreError`` when that cannot be read."""
    return LogHead(
        read_value(location, rev, int),
        read_value(location, tag, bytes),
        read_value(location, epoch, bytes),
    )


def check_version(location: str, version: str, *, known: str) -> None:
    """Raise ``StoreError`` for a store whose version is not the one ``known`` here.

    Versions are numbers of one length, written as text.
    """
    check_not_newer(location, version, known=known)
    if version != known:
        msg = f"{location}: was made by an older keybound (its tables have version {version}, "
        msg += f"this one needs {known}): run `keybound db upgrade`"
        raise StoreError(msg)


def check_not_newer(location: str, version: str, *, known: str) -> None:
    """Raise ``StoreError`` for a store whose version is higher than the one ``known`` here."""
    if version > known:
        msg = f"{location}: was made by a newer keybound (its tables have version {version}, "
        msg += f"this one knows {known}): upgrade keybound here"
        raise StoreError(msg)


def read_installation(location: str, identity: object, fingerprint: object) -> Installation:
    """Return what was installed; raises ``StoreError`` when that cannot be read."""
    if fingerprint is not None:
        fingerprint = read_value(location, fingerprint, str)
    return Installation(read_value(location, identity, bytes), fingerprint)


def read_usage(  # noqa: PLR0917 - as a database answers them
    location: str,
    key: object,
    since: object,
    uses: object,
    refusals: object,
    used_at: object,
    refused_at: object,
) -> UsageRow:
    """Return what was counted of a key; raises ``StoreError`` when that cannot be read."""
    return UsageRow(
        read_value(location, key, str),
        _read_moment(location, since),
        read_value(location, uses, int),
        read_value(location, refusals, int),
        None if used_at is None else _read_moment(location, used_at),
        None if refused_at is None else _read_moment(location, refused_at),
    )


def _read_moment(location: str, value: object) -> float:
    moment = read_value(location, value, float)
    if 0 <= moment < _MOMENTS_END:
        return moment
    msg = f"{location}: was changed past keybound ({moment} is stored where a moment was written): "
    msg += "restore a backup of it"
    raise StoreError(msg)


def read_value(location: str, value: object, kind: type[T]) -> T:
    """Return a stored value that must be of this type; raises ``StoreError`` if it is not."""
    if isinstance(value, kind):
        return value
    msg = f"{location}: was changed past keybound (a {type(value).__name__} is stored where a "
    msg += f"{kind.__name__} was written): restore a backup of it"
    raise StoreError(msg)


def not_opened(location: str) -> StoreMissingError:
    """Return what is raised when a store is asked before ``OpenStore`` made it."""
    return StoreMissingError(f"{location}: holds no keybound store yet; `keybound init` makes one")


def _check_rev(node: str, expected: int | None, revs: Mapping[str, int]) -> None:
    stored = revs.get(node)
    if stored == expected:
        return
    if stored is None:
        msg = f"{node} does not exist any more"
    elif expected is None:
        msg = f"{node} exists already"
    else:
        msg = f"{node} is at revision {stored}, not {expected}: read it again"
    raise ConflictError(msg)
