"""The start of a request, as a test writes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class FakeHead:
    """Header lines as a client sends them, each with its name in lower case."""

    headers: tuple[tuple[str, bytes], ...] = ()
    query: bytes = b""
    peer: str | None = "192.0.2.1"
    method: str = "GET"
    path: str = "/"
    raw_path: bytes | None = None

    def lines(self, name: str) -> list[bytes]:
        """Return the values of one header."""
        return [value for each, value in self.headers if each == name]

    def folded(self, name: str) -> list[bytes]:
        """Return those of each spelling of its name."""
        return [value for each, value in self.headers if each.replace("_", "-") == name]

    def joined(self) -> FakeHead:
        """Return what a WSGI server makes of it: lines of one name are one."""
        names = dict.fromkeys(name for name, _ in self.headers)
        lines = tuple((name, b",".join(self.lines(name))) for name in names)
        return replace(self, headers=lines)


def head_with(headers: Mapping[str, Sequence[bytes]], **more: Any) -> FakeHead:
    """Return a head with the lines of each of these headers."""
    lines = tuple((name, value) for name, values in headers.items() for value in values)
    return FakeHead(lines, **more)


def nobody(_peer: str | None) -> bool:
    """Trust no peer."""
    return False


def everybody(_peer: str | None) -> bool:
    """Trust every peer."""
    return True
