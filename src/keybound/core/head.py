"""The start of a request, as a shell hands it on: raw, and nothing parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Head(Protocol):
    """What may be read of a request before anything of it is served."""

    @property
    def peer(self) -> str | None:
        """The address at the other end of the socket; ``None`` or empty for a unix socket."""
        ...

    @property
    def method(self) -> str:
        """The method, as the client spelled it."""
        ...

    @property
    def path(self) -> str:
        """The decoded path that the application routes by."""
        ...

    @property
    def raw_path(self) -> bytes | None:
        """The path as it came, encoded; ``None`` where the server does not tell."""
        ...

    @property
    def query(self) -> bytes:
        """The raw query string, without its question mark."""
        ...

    def lines(self, name: str) -> Sequence[bytes]:
        """Return the raw values of one header, its name in lower case, one for each line.

        A WSGI server joins several lines into one with commas. A name that is spelled with
        underscores is another name.
        """
        ...

    def folded(self, name: str) -> Sequence[bytes]:
        """Return those of every header that is this one to whoever takes ``_`` for ``-``.

        An application may stand behind something that does, as WSGI has it: what narrows a request
        is read so, and what is to be believed is not.
        """
        ...
