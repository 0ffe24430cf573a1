"""The keys of a case: secrets that can be recognised wherever they turn up, and texts made of them.

Every one has `MARK` where the random part begins. It is longer than what a hint shows, so the mark
in a log, a warning, an exception or an answer is a leak.
"""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

from keybound.core.keys import BASE62, ENTROPY_BYTES
from tests.security.murmur import collision

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound.core.keys import KeyFormat, Peppers

MARK = "CanaryKey"

_RANDOM = 32
"""Characters of the random part of a key."""


class Secrets:
    """The secrets of one world, by the name that a case gives them; made when first asked for."""

    def __init__(self, form: KeyFormat, peppers: Peppers) -> None:
        """Begin without any."""
        self._form = form
        self._peppers = peppers
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the secret of a key, whether there is such a key or not."""
        if name not in self._known:
            self._known[name] = self.new()
        return self._known[name]

    def new(self, start: str = MARK) -> str:
        """Return another secret whose random part begins with ``start``."""
        return self._form.generate(_entropy(start)).reveal()

    def digest(self, name: str) -> bytes:
        """Return what a key is found by."""
        return self._peppers.digest(self.of(name))

    def fill(self, placeholder: str) -> str:
        """Return what a placeholder stands for; raises ``KeyError`` for an unknown one."""
        if placeholder in _PLAIN:
            return _PLAIN[placeholder](self)
        name, colon, variant = placeholder.partition(":")
        if name == "COLLIDES_MURMUR_WITH":
            return collision(self.of(variant), self.prefix)
        if not colon:
            return self.of(name)
        return _VARIANTS[variant](self, name)

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return f"{self._form.prefix}_{self._form.environment}"


def _entropy(start: str) -> bytes:
    """Return entropy whose base62 digits, lowest first, begin with a text and are random then."""
    rest = os.urandom(_RANDOM)
    digits = [BASE62.index(char) for char in start]
    digits += [byte % 62 for byte in rest[: _RANDOM - len(digits)]]
    number = sum(digit * 62**place for place, digit in enumerate(digits))
    return int(number).to_bytes(ENTROPY_BYTES, "big")


def _swap_last(text: str) -> str:
    return text[:-1] + ("A" if text[-1] != "A" else "B")


def _basic(text: str) -> str:
    return b64encode(text.encode()).decode()


_HOMOGLYPHS = str.maketrans({"k": "\u043a", "a": "\u0430", "e": "\u0435"})

_VARIANTS: dict[str, Callable[[Secrets, str], str]] = {
    "id": lambda _, name: name,
    "chop_last": lambda found, name: found.of(name)[:-1],
    "swapcase": lambda found, name: found.of(name).swapcase(),
    "upper": lambda found, name: found.of(name).upper(),
    "lower": lambda found, name: found.of(name).lower(),
    "bad_checksum": lambda found, name: _swap_last(found.of(name)),
    # As much of it as a hint shows, so that nothing recognises it as the secret that it is not.
    "same_prefix_wrong_secret": lambda found, _: found.new(MARK[:4]),
    "first_half": lambda found, name: found.of(name)[: len(found.of(name)) // 2],
    "second_half": lambda found, name: found.of(name)[len(found.of(name)) // 2 :],
    "percent_encoded": lambda found, name: "".join(f"%{ord(each):02X}" for each in found.of(name)),
    "homoglyph_utf8": lambda found, name: (
        found.of(name).translate(_HOMOGLYPHS).encode().decode("latin-1")
    ),
    "basic_user": lambda found, name: _basic(f"{found.of(name)}:"),
    "basic_password": lambda found, name: _basic(f"user:{found.of(name)}"),
    "stored_hash_hex": lambda found, name: found.digest(name).hex(),
    "hint": lambda found, name: found.of(name)[: found.of(name).rindex("_") + 5],
}

CANARY_FILE = "a_pickle_was_loaded"


def _pickle(_: Secrets) -> str:
    """Return a pickle that makes a file in the working directory when it is loaded."""
    code = f"open('{CANARY_FILE}', 'w').close()"
    return f"cbuiltins\nexec\n(V{code}\ntR."


_PLAIN: dict[str, Callable[[Secrets], str]] = {
    "RANDOM_WELLFORMED": lambda found: found.new(),
    "PREFIX": lambda found: found.prefix,
    "PICKLE_RCE": _pickle,
}
