"""Raw connections: exactly these bytes go out, and every answer is read as it came."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from tests.services.servers import connect
from tests.wire.headers import SEEN, TOLD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.services.servers import Address

ANSWERS_WITHIN = 5.0

LONGER = 126
"""In place of the length of a WebSocket's message that does not fit into seven bits."""

CLOSED, SILENT = 0, -1
"""In place of a status: the connection ended, or nothing came."""


@dataclass(frozen=True)
class Answer:
    """One answer of a server; ``headers`` have their names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    version: tuple[int, ...] = (1, 1)

    @property
    def outcome(self) -> str:
        """Who answered: the application (``served``), keybound (``refused``), or the ``server``."""
        if self.all("keybound-denial"):
            return "refused"
        return "served" if self.told is not None else "server"

    @cached_property
    def told(self) -> dict[str, Any] | None:
        """What the application saw, if it was reached."""
        told = [self.body] if self.over_websocket else self.all(TOLD)
        return json.loads(told[0]) if told else None

    @property
    def over_websocket(self) -> bool:
        """Whether it accepts a WebSocket; the body is the first message then."""
        return self.status == 101 and takes_websocket(dict(self.headers))

    @property
    def seen(self) -> dict[str, Any] | None:
        """What the server handed over, if the middleware was reached."""
        seen = self.all(SEEN)
        return json.loads(seen[0]) if seen else None

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key == name]

    def __str__(self) -> str:
        """Return what a table has of it."""
        if self.outcome != "served":
            reason = json.loads(self.body).get("reason", "") if self.is_problem else ""
            return f"{self.outcome} {self.status} {reason}".strip()
        told = self.told or {}
        return f"served {self.status} {told.get('key')} {told.get('method')} {told.get('path')!r}"

    @property
    def is_problem(self) -> bool:
        """Whether the body is a problem document."""
        return bool(self.body) and self.all("content-type") == ["application/problem+json"]


def takes_websocket(fields: Mapping[str, str]) -> bool:
    """Return whether an answer that changes the protocol changes it to a WebSocket."""
    return fields.get("upgrade", "").lower() == "websocket"


class Connection:
    """One connection to a server."""

    def __init__(self, address: Address) -> None:
        """Connect."""
        self._socket = connect(address, within=ANSWERS_WITHIN)
        self._came = b""

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send, unless the server closed before it read everything."""
        with suppress(OSError):
            self._socket.sendall(data)

    def receive(self) -> bytes:
        """Return what came, nothing once the connection ended; raises ``TimeoutError``."""
        if not self._came:
            self._more()
        data, self._came = self._came, b""
        return data

    def read(self, *, head: bool = False, within: float = ANSWERS_WITHIN) -> Answer:
        """Return the next final answer; ``head`` where it has no body."""
        self._socket.settimeout(within)
        try:
            while True:
                answer = self._answer(head=head)
                if answer.status not in {100, 103}:
                    return answer
        except TimeoutError:
            return Answer(SILENT)

    def read_all(self, *, within: float) -> list[Answer]:
        """Return every answer until the connection ends or nothing comes any more."""
        answers = [self.read(within=within)]
        while answers[-1].status > 0:
            answers.append(self.read(within=within))
        return answers

    def _answer(self, *, head: bool) -> Answer:
        start = self._until(b"\r\n")
        if not start.startswith(b"HTTP/"):  # nothing, or an answer in the form of HTTP/0.9
            return Answer(400 if start else CLOSED, (), start + self._rest())
        version, number, *_ = start.split()
        status = int(number)
        headers: list[tuple[str, str]] = []
        while line := self._until(b"\r\n").strip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        fields = dict(headers)
        if status == 101 and takes_websocket(fields):
            body = self._frame()
        elif head or status in {100, 101, 103, 204, 304}:
            body = b""
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks()
        elif "content-length" in fields:
            body = self._exactly(int(fields["content-length"]))
        else:
            body = self._rest()
        said = tuple(int(part) for part in version.removeprefix(b"HTTP/").split(b"."))
        return Answer(status, tuple(headers), body, said)

    def _frame(self) -> bytes:
        """Return the first message of a server over a WebSocket (RFC 6455 section 5.2)."""
        start = self._exactly(2)
        length = start[1] if start else 0
        if length == LONGER:
            length = int.from_bytes(self._exactly(2))
        return self._exactly(length)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0] or b"0", 16):
            body += self._exactly(size)
            self._until(b"\r\n")
        self._until(b"\r\n")
        return body

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._came and self._more():
            pass
        found, mark, self._came = self._came.partition(mark)
        return found + mark

    def _exactly(self, count: int) -> bytes:
        while len(self._came) < count and self._more():
            pass
        found, self._came = self._came[:count], self._came[count:]
        return found

    def _rest(self) -> bytes:
        while self._more():
            pass
        found, self._came = self._came, b""
        return found

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        self._came += data
        return bool(data)
