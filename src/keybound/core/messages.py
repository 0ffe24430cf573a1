"""What workers tell each other of changes: which nodes, and at which revision of which epoch.

A message is a hint, never a proof. Whoever can publish may say anything, so it proves that this
installation made it; what it says is then required of its nodes until a sync has looked.

    message: MAC (32) version (1) revision (8) time (8) epoch length (1) epoch, ids of the nodes
"""

from __future__ import annotations

import hmac
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import Struct

from keybound.core.keys import derive

if TYPE_CHECKING:
    from keybound.core.secret import Secret

MESSAGE_MAX = 1_024
"""Bytes of the largest message that is read; one of two nodes has about a hundred."""

_VERSION = 2
_MAC_BYTES = 32
_START = struct.Struct(">BQdB")
"""Version, revision, time as a double, length of the epoch."""


class Message(Struct, frozen=True):
    """A change of these nodes was committed as revision ``rev``.

    ``committed_at`` is POSIX time by the clock of whoever made it: to be measured, never relied on.
    """

    epoch: bytes
    nodes: tuple[str, ...]
    rev: int
    committed_at: float


class Messages:
    """Writes and reads messages under one secret; what another secret wrote is refused.

    ``channel`` is where they are published: installations that share a server share no channel.
    """

    def __init__(self, secret: Secret) -> None:
        """Derive the name of the channel, and a key for messages."""
        self.channel = b"keybound:1:" + derive(secret, b"channel").hex()[:32].encode()
        self._new_mac = blake2b(digest_size=_MAC_BYTES, key=derive(secret, b"messages")).copy

    def encode(self, message: Message) -> bytes:
        """Return what is published."""
        epoch, nodes = message.epoch, ",".join(message.nodes).encode()
        start = _START.pack(_VERSION, message.rev, message.committed_at, len(epoch))
        body = start + epoch + nodes
        return self._mac(body) + body

    def decode(self, payload: bytes) -> Message | None:
        """Return what was published, or ``None`` unless this installation made it."""
        body = payload[_MAC_BYTES:]
        if len(payload) > MESSAGE_MAX or not hmac.compare_digest(
            payload[:_MAC_BYTES], self._mac(body)
        ):
            return None
        # It is ours, but perhaps of a program that writes something else.
        try:
            version, rev, committed_at, length = _START.unpack_from(body)
            if version != _VERSION:
                return None
            epoch_ends = _START.size + length
            nodes = body[epoch_ends:].decode()
        except (struct.error, ValueError):
            return None
        epoch = body[_START.size : epoch_ends]
        return Message(epoch, tuple(nodes.split(",")), rev, committed_at)

    def _mac(self, body: bytes) -> bytes:
        hasher = self._new_mac()
        hasher.update(body)
        return hasher.digest()
