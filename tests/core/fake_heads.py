"""Heads of requests, as a shell would hand them on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class FakeHead:
    """A head made of what a test is about; headers by their names in lower case."""

    headers: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    peer: str | None = "10.0.0.1"
    method: str = "GET"
    path: str = "/"
    raw_path: bytes | None = None
    query: bytes = b""

    def lines(self, name: str) -> Sequence[bytes]:
        """Return the lines of a header."""
        return self.headers.get(name, ())


def nobody(_peer: str | None) -> bool:
    """Trust no peer."""
    return False


def everybody(_peer: str | None) -> bool:
    """Trust every peer."""
    return True
