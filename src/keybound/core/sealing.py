"""Ids of denials: they tell a client nothing, and the operator everything, without a stored log.

An id is 72 bytes of AES-SIV (RFC 5297), 96 characters of base64url for every denial: the time, the
reason, the key, and short tags of the node and the clause that refused.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from keybound.core.errors import InputError
from keybound.core.nodes import NODE_ID_MAX
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from keybound.core.chain import Check
    from keybound.core.decision import Denied

SEALING_KEY_BYTES = 32
NONCE_BYTES = 6

_REASONS = tuple(Reason)
_LAYOUT = struct.Struct(f">Q{NONCE_BYTES}sB8s8s{NODE_ID_MAX + 1}p")
_ASSOCIATED = [b"keybound denial 1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedDenial:
    """What an id says: ``at`` is POSIX seconds; the tags are compared with stored nodes."""

    at: float
    reason: Reason
    key: str | None
    node_tag: bytes
    clause_tag: bytes

    def names(self, check: Check) -> bool:
        """Return whether this is the check that refused, unchanged since."""
        return self.node_tag == _node_tag(check) and self.clause_tag == _clause_tag(check)


class Sealer:
    """Seals and opens ids of denials under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        """Prepare the cipher."""
        self._cipher = AESSIV(key)

    def seal(self, denied: Denied, *, at: float, nonce: bytes) -> str:
        """Return the id of a denial; ``nonce`` is random and makes equal denials differ."""
        body = _LAYOUT.pack(
            int(at * 1_000),
            nonce,
            _REASONS.index(denied.reason),
            _node_tag(denied.check),
            _clause_tag(denied.check),
            (denied.key or "").encode(),
        )
        return urlsafe_b64encode(self._cipher.encrypt(body, _ASSOCIATED)).decode()

    def open(self, text: str) -> SealedDenial:
        """Return what an id says; raises ``InputError`` for one that this key did not seal."""
        try:
            body = self._cipher.decrypt(urlsafe_b64decode(text), _ASSOCIATED)
            at, _, reason, node_tag, clause_tag, key = _LAYOUT.unpack(body)
            return SealedDenial(
                at=at / 1_000,
                reason=_REASONS[int(reason)],  # a later version may have more of them
                key=key.decode(errors="ignore") or None,  # a long one is cut, within a letter
                node_tag=node_tag,
                clause_tag=clause_tag,
            )
        except (InvalidTag, ValueError, IndexError, struct.error):
            raise InputError(
                "denial id",
                "was not made by this installation, or is cut short",
                fix="copy all of it, and use the same store and secret as the server",
            ) from None


def _node_tag(check: Check | None) -> bytes:
    return blake2b(check.node.encode(), digest_size=8).digest() if check else bytes(8)


def _clause_tag(check: Check | None) -> bytes:
    if check is None:
        return bytes(8)
    text = msgspec.json.encode([check.clause.dimension, check.clause.dump()])
    return blake2b(text, digest_size=8).digest()
