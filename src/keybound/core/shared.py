"""Records of the shared cache: one value for each key, and one for each node above a key.

Whoever can write to Redis may put anything there, so a value proves where it came from: a MAC over
its name, which holds the epoch of the store and the version, and over everything in it. Names are
made under a key as well: no digest and no id can be read from them, or guessed.

    value: version (1) as_of (20 digits) MAC (32) tag length (1) tag, length (2) ids above, node

``as_of`` stands at a fixed place, so that the server can compare two values without a key.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import Struct

from keybound.core.effects import LogHead
from keybound.core.errors import RecordCorruptError
from keybound.core.keys import derive
from keybound.core.nodes import RECORD_MAX, StoredNode, decode_node, encode_node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keybound.core.secret import Secret

VERSION = b"1"
VALUE_MAX = RECORD_MAX + 2_048
"""Bytes of the largest value that is read; what surrounds a record is never as much as 2,048."""

_AS_OF_DIGITS = 20
_START_BYTES = 1 + _AS_OF_DIGITS
_MAC_BYTES = 32
_BODY = _START_BYTES + _MAC_BYTES
_NAME_BYTES = 16


@lru_cache(maxsize=8)
def _prefix(epoch: bytes) -> bytes:
    return b"keybound:%b:%b:" % (VERSION, epoch.hex().encode())


class SharedRecord(Struct, frozen=True):
    """A node as it was at a revision, and what stood above it then: a hint, to ask at once."""

    node: StoredNode
    head: LogHead
    above: tuple[str, ...]


class SharedRecords:
    """Writes and reads values under one secret; what another secret wrote is not there."""

    def __init__(self, secret: Secret) -> None:
        """Derive a key for names and one for values."""
        self._new_name = blake2b(digest_size=_NAME_BYTES, key=derive(secret, b"shared names")).copy
        self._new_mac = blake2b(digest_size=_MAC_BYTES, key=derive(secret, b"shared records")).copy

    def key_name(self, epoch: bytes, digest: bytes) -> bytes:
        """Return where the key with this digest is."""
        return self._name(epoch, b"digest " + digest)

    def node_name(self, epoch: bytes, node: str) -> bytes:
        """Return where the node with this id is, as one that stands above keys."""
        return self._name(epoch, b"node " + node.encode())

    def encode(self, name: bytes, node: StoredNode, head: LogHead, above: Iterable[str]) -> bytes:
        """Return the value for a node that was read at this revision."""
        hints = ",".join(above).encode()
        body = b"".join(
            (
                len(head.tag).to_bytes(1, "big"),
                head.tag,
                len(hints).to_bytes(2, "big"),
                hints,
                encode_node(node),
            )
        )
        start = VERSION + b"%0*d" % (_AS_OF_DIGITS, head.rev)
        return start + self._mac(name, start, body) + body

    def decode(self, name: bytes, epoch: bytes, value: bytes) -> SharedRecord | None:
        """Return what is in a value, or ``None`` unless it was made for this very name."""
        start, body = value[:_START_BYTES], value[_BODY:]
        if len(value) > VALUE_MAX or not hmac.compare_digest(
            value[_START_BYTES:_BODY], self._mac(name, start, body)
        ):
            return None
        # It is ours, but perhaps of a program that writes something else.
        try:
            tag_ends = 1 + body[0]
            hints_start = tag_ends + 2
            hints_end = hints_start + (body[tag_ends] << 8 | body[tag_ends + 1])
            hints = body[hints_start:hints_end].decode() if hints_end > hints_start else ""
            head = LogHead(int(start[1:]), body[1:tag_ends], epoch)
            node = decode_node(body[hints_end:])
        except (ValueError, IndexError, RecordCorruptError):
            return None
        return SharedRecord(node, head, tuple(hints.split(",")) if hints else ())

    def _name(self, epoch: bytes, what: bytes) -> bytes:
        hasher = self._new_name()
        hasher.update(what)
        return _prefix(epoch) + hasher.hexdigest().encode()

    def _mac(self, name: bytes, start: bytes, body: bytes) -> bytes:
        hasher = self._new_mac()
        # No length is needed between them: all names are of one length, and so are all starts.
        hasher.update(name + start + body)
        return hasher.digest()
