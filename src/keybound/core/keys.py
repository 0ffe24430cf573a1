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
from typing import TYPE_CHECKING, Final
from zlib import crc32

from keybound.core.errors import SettingsError
from keybound.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
    _starts: tuple[str, ...] = field(init=False, repr=False, compare=False)

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
        names = (self.prefix, *self.accepted_prefixes)
        prefixes = "|".join(dict.fromkeys(names))
        object.__setattr__(self, "_starts", tuple([f"{name}_" for name in names]))
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

    def claims(self, text: str) -> bool:
        """Return whether this begins as keys of this site do, of whichever environment."""
        return text.startswith(self._starts)

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
    """Return the digits that ``base62`` makes of the CRC-32, lowest first, two at a time."""
    upper, low = divmod(crc32(text.encode("ascii")), len(_PAIRS))
    high, middle = divmod(upper, len(_PAIRS))
    return _PAIRS[low] + _PAIRS[middle] + _PAIRS[high]


_PAIRS: Final = tuple([low + high for high in BASE62 for low in BASE62])
"""Every pair of digits, by its number."""


class Peppers:
    """The current pepper and the retired ones; keys are stored under the first, found under all."""

    def __init__(self, secret: Secret | None, retired: Iterable[Secret] = ()) -> None:
        """Derive a pepper from each secret; without any, digests are plain SHA-256."""
        self._secrets = ([secret] if secret is not None else []) + list(retired)
        self._hmacs = [_hmac_of(derive(each, b"pepper")) for each in self._secrets]
        self.digest = [*self._hmacs, _unpeppered][0]
        """What returns the 32 bytes that a new key is stored under."""

    def candidates(self, key: str) -> tuple[bytes, ...]:
        """Return every digest this key may be stored under: current, retired, then unpeppered."""
        return (*[digest_of(key) for digest_of in self._hmacs], _unpeppered(key))

    def fingerprints(self) -> Sequence[str]:
        """Return the public names of the secrets, the current one first."""
        return [pepper_id(secret) for secret in self._secrets]


def _hmac_of(pepper: bytes) -> Callable[[str], bytes]:
    """Return HMAC-SHA-256 (RFC 2104) under 32 bytes: what depends on those alone is done once."""
    block = pepper.ljust(hashlib.sha256().block_size, b"\0")
    begun = hashlib.sha256(bytes([each ^ 0x36 for each in block])).copy
    finishing = hashlib.sha256(bytes([each ^ 0x5C for each in block])).copy

    def digest(key: str) -> bytes:
        inner, outer = begun(), finishing()
        inner.update(key.encode("ascii"))
        outer.update(inner.digest())
        return outer.digest()

    return digest


def _unpeppered(key: str) -> bytes:
    return hashlib.sha256(key.encode("ascii")).digest()


def derive(secret: Secret, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose (HMAC as a PRF, as HKDF-Expand of RFC 5869 uses it)."""
    return hmac.digest(secret.reveal().encode(), b"keybound/1/" + purpose, "sha256")


def pepper_id(secret: Secret) -> str:
    """Return the public fingerprint of a secret: 16 hexadecimal characters."""
    return derive(secret, b"fingerprint").hex()[:16]
