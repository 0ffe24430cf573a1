"""A text that must not be printed."""

from __future__ import annotations

import hmac
from typing import Never


class Secret:
    """A secret with one door, ``reveal()``; printing or storing it by accident raises.

    ``repr()`` alone answers, and says nothing, so that a traceback or a debugger never trips.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        """Hold ``value``."""
        self.__value = value

    def reveal(self) -> str:
        """Return the text itself. Search for calls of this method to audit where secrets go."""
        return self.__value

    def __repr__(self) -> str:
        """Return the same text for every secret."""
        return "Secret(...)"

    def __str__(self) -> str:  # noqa: PLE0307 - it never returns
        """Raise: a secret in a log line or a template is a leak."""
        self._refuse("str()")

    def __format__(self, spec: str) -> str:
        """Raise, as ``str()`` does."""
        self._refuse("format()")

    def __bytes__(self) -> bytes:  # noqa: PLE0308 - it never returns
        """Raise, as ``str()`` does."""
        self._refuse("bytes()")

    def __reduce_ex__(self, protocol: object) -> Never:
        """Raise: pickling and copying would put the text where nobody looks for it."""
        self._refuse("pickle or copy")

    def __iter__(self) -> Never:
        """Raise: a secret is not a sequence of characters."""
        self._refuse("iteration")

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would let a secret be a dictionary key

    @staticmethod
    def _refuse(what: str) -> Never:
        msg = f"{what} of a Secret: call .reveal() where the text itself is really meant"
        raise TypeError(msg)
