"""What an API key looks like, and how it is recognised without being stored.

A key is ``kb_live_`` + 32 base62 characters (190 bits) + 6 base62 characters of CRC-32. What is
stored is HMAC-SHA-256 of the whole key under a pepper, so that neither a stolen database nor a
stolen configuration alone lets anyone test a guess; a fast hash is right for 190 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

from keybound.core.errors import SettingsError
from keybound.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ENTROPY_BYTES = 32
"""Random bytes that making a key or an id consumes; more than used, so that no digit is biased."""

_BODY = 32
_CHECK = 6
_WORD = re.compile(r"[a-z][a-z0-9]{0,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """The shape of keys: which text can be a key at all is answered without any I/O."""

    prefix: str = "kb"
    environment: str = "live"
    accepted_prefixes: tuple[str, ...] = ()
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the parts; raises ``SettingsError``."""
        for name, word in (
            ("prefix", self.prefix),
            ("environment", self.environment),
            *(("accepted_prefixes", word) for word in self.accepted_prefixes),
        ):
            if not _WORD.fullmatch(word):
                raise SettingsError(
                    name,
                    f"{word!r} is not 1 to 16 of a-z and 0-9 starting with a letter",
                    fix=f"for example {'live' if name == 'environment' else 'kb'!r}",
                )
        prefixes = "|".join(dict.fromkeys((self.prefix, *self.accepted_prefixes)))
        object.__setattr__(
            self,
            "_pattern",
            re.compile(rf"(?:{prefixes})_{self.environment}_[0-9A-Za-z]{{38}}", re.ASCII),
        )

    def recognises(self, text: str) -> bool:
        """Return whether this can be a key: prefix, environment, alphabet, length and checksum."""
        if self._pattern.fullmatch(text) is None:
            return False
        return text[-_CHECK:] == _checksum(text[:-_CHECK])

    def generate(self, entropy: bytes) -> Secret:
        """Return a new key made of ``ENTROPY_BYTES`` random bytes."""
        start = f"{self.prefix}_{self.environment}_{base62(entropy, _BODY)}"
        return Secret(start + _checksum(start))

    def hint(self, key: Secret) -> str:
        """Return what may be shown: the prefix and four characters; 166 bits stay hidden."""
        text = key.reveal()
        return text[: text.rindex("_") + 5]


def base62(entropy: bytes, length: int) -> str:
    """Return ``length`` digits of a number made of random bytes."""
    number = int.from_bytes(entropy, "big")
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(digits)


def _checksum(text: str) -> str:
    return base62(crc32(text.encode("ascii")).to_bytes(4, "big"), _CHECK)


class Peppers:
    """The current pepper and the retired ones; keys are stored under the first, found under all."""

    def __init__(self, secret: Secret | None, retired: Iterable[Secret] = ()) -> None:
        """Derive a pepper from each secret; without any, digests are plain SHA-256."""
        self._secrets = ([secret] if secret is not None else []) + list(retired)
        self._peppers = [derive(each, b"pepper") for each in self._secrets]

    def digest(self, key: str) -> bytes:
        """Return the 32 bytes that a new key is stored under."""
        return self.candidates(key)[0]

    def candidates(self, key: str) -> tuple[bytes, ...]:
        """Return every digest this key may be stored under: current, retired, then unpeppered."""
        text = key.encode("ascii")
        return (
            *(hmac.digest(pepper, text, "sha256") for pepper in self._peppers),
            hashlib.sha256(text).digest(),
        )

    def fingerprints(self) -> Sequence[str]:
        """Return the public names of the secrets, the current one first."""
        return [pepper_id(secret) for secret in self._secrets]


def derive(secret: Secret, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose (HMAC as a PRF, as HKDF-Expand of RFC 5869 uses it)."""
    return hmac.digest(secret.reveal().encode(), b"keybound/1/" + purpose, "sha256")


def pepper_id(secret: Secret) -> str:
    """Return the public fingerprint of a secret: 16 hexadecimal characters."""
    return derive(secret, b"fingerprint").hex()[:16]
