"""What workers tell each other of changes: which nodes, and at which revision of which epoch.

A message is a hint, never a proof. Whoever can publish may say anything, so it proves that this
installation made it; what it says is then required of its nodes until a sync has looked.

    message: MAC (32) version (1) revision (8) epoch length (1) epoch, ids of the nodes
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import Struct

from keybound.core.keys import derive

if TYPE_CHECKING:
    from keybound.core.secret import Secret

MESSAGE_MAX = 1_024
"""Bytes of the largest message that is read; one of two nodes has about a hundred."""

_VERSION = 1
_MAC_BYTES = 32
_REV = slice(1, 9)


class Message(Struct, frozen=True):
    """A change of these nodes was committed as revision ``rev``."""

    epoch: bytes
    nodes: tuple[str, ...]
    rev: int


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
        body = b"".join(
            (
                _VERSION.to_bytes(1, "big"),
                message.rev.to_bytes(8, "big"),
                len(message.epoch).to_bytes(1, "big"),
                message.epoch,
                ",".join(message.nodes).encode(),
            )
        )
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
            if body[0] != _VERSION:
                return None
            epoch_ends = 10 + body[9]
            nodes = body[epoch_ends:].decode()
        except (IndexError, ValueError):
            return None
        return Message(body[10:epoch_ends], tuple(nodes.split(",")), int.from_bytes(body[_REV]))

    def _mac(self, body: bytes) -> bytes:
        hasher = self._new_mac()
        hasher.update(body)
        return hasher.digest()
