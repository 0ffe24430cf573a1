"""The client: a process that asks every worker, over connections that stay open, all the time.

It is told on its standard input, one JSON array a line, and tells on its standard output, one JSON
array a line, whenever a worker begins to say something else of a key that it watches. Every single
request is written to a file (``records``), which is what the verdict is made of.

    ["worker", 0, port]         ask this worker, there from now on
    ["good", key, credential]   ask for this key all the time
    ["watch", key, credential, accepted]   ask for this one now and then ...
    ["hurry", key]              ... and very often, until a worker says what it is to say
    ["unwatch", key]            ... it is not watched any more
    ["pace", requests]          so many in a second at all workers together; 0: as many as it can
    ["count"]                   say how many there were
    ["end"]
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import random
import selectors
import socket
import sys
import time
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.chaos.records import ACCEPTED, CUT, LAYOUT, SILENT, UNDECIDED

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 2
"""To each worker."""

GIVEN_UP_AFTER = 20.0
"""Seconds without an answer: as long as nothing of ours takes."""

AGAIN_AFTER = 0.05
"""Seconds until a connection that failed is made anew."""

_HEAD = b"GET / HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n\r\n"


class Key:
    """A key, what is sent for it, and what each worker said of it last."""

    def __init__(self, number: int, credential: str) -> None:
        """Nobody was asked yet."""
        self.number = number
        self.request = _HEAD % credential.encode()
        self.accepted: bool | None = None
        """What a key that is watched is to become."""
        self.hurried = False
        self.said: dict[int, int] = {}

    def waits_for(self, worker: int) -> bool:
        """Return whether a worker is expected to say something else very soon."""
        said = self.said.get(worker)
        return self.hurried and (said == UNDECIDED or (said == ACCEPTED) is not self.accepted)


class Connection:
    """One of a worker's connections: idle, waiting for an answer, or about to be made."""

    def __init__(self, worker: int) -> None:
        """Know whom to ask."""
        self.worker = worker
        self.turn = count()
        self.socket: socket.socket | None = None
        self.key: Key | None = None
        self.sent = 0.0
        self.heard = b""

    def connect(self, port: int) -> None:
        """Connect; raises ``OSError``."""
        self.socket = socket.create_connection(("127.0.0.1", port), GIVEN_UP_AFTER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)

    def close(self) -> None:
        """Forget the connection."""
        if self.socket is not None:
            self.socket.close()
        self.socket, self.key, self.heard = None, None, b""


class Load:
    """All of it, in one thread."""

    def __init__(self, path: str) -> None:
        """Ask nobody yet."""
        self._file = open(path, "wb", buffering=1 << 16)  # noqa: PTH123, SIM115 - until the end
        self._ports: dict[int, int] = {}
        self._good: list[Key] = []
        self._watched: dict[int, Key] = {}
        self._gap = 0.0
        self._count = 0
        self._over = False
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Connection]] = []
        self._numbers = count()
        self._orders = b""
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, None)
        self._verbs: dict[str, Callable[..., None]] = {
            "worker": self._worker,
            "good": self._ask_for,
            "watch": self._watch,
            "hurry": self._hurry,
            "unwatch": self._unwatch,
            "pace": self._pace,
            "count": lambda: _tell("count", self._count, time.monotonic()),
            "end": self._end,
        }

    def run(self) -> None:
        """Go on until it is told to end."""
        while not self._over:
            now = time.monotonic()
            wait = max(0.0, self._due[0][0] - now) if self._due else 0.5
            for key, _ in self._selector.select(min(wait, 0.5)):
                if key.data is None:
                    self._obey()
                else:
                    self._hear(key.data)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._next(heapq.heappop(self._due)[2])
            if int(now * 4) % 4 == 0:
                self._give_up(now)
        self._file.close()

    def _obey(self) -> None:
        said = os.read(0, 1 << 16)
        self._over = not said  # whoever gave orders is gone
        self._orders += said
        *lines, self._orders = self._orders.split(b"\n")
        for line in lines:
            verb, *given = json.loads(line)
            self._verbs[verb](*given)

    def _worker(self, worker: int, port: int) -> None:
        known = worker in self._ports
        self._ports[worker] = port
        for _ in range(0 if known else CONNECTIONS):
            self._later(Connection(worker), time.monotonic())
        self._pace(0)

    def _pace(self, requests: float) -> None:
        self._gap = CONNECTIONS * len(self._ports) / requests if requests else 0.0

    def _ask_for(self, number: int, credential: str) -> None:
        self._good.append(Key(number, credential))

    def _watch(self, number: int, credential: str, accepted: bool) -> None:  # noqa: FBT001 - from JSON
        self._watched[number] = Key(number, credential)
        self._watched[number].accepted = accepted

    def _hurry(self, number: int) -> None:
        self._watched[number].hurried = True

    def _unwatch(self, number: int) -> None:
        del self._watched[number]

    def _end(self) -> None:
        self._over = True

    def _later(self, connection: Connection, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), connection))

    def _next(self, connection: Connection) -> None:
        """Send the next request of a connection."""
        key = self._choose(connection)
        if key is None:
            self._later(connection, time.monotonic() + AGAIN_AFTER)
            return
        connection.key, connection.sent = key, time.monotonic()
        try:
            if connection.socket is None:
                connection.connect(self._ports[connection.worker])
                assert connection.socket is not None
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
                connection.sent = time.monotonic()
            connection.socket.sendall(key.request)
        except OSError:
            self._fail(connection, CUT)

    def _choose(self, connection: Connection) -> Key | None:
        """Return whom to ask for: half of the time a good key, otherwise one that may change."""
        turn, watched = next(connection.turn), list(self._watched.values())
        if turn % 2 and watched:
            hot = [key for key in watched if key.waits_for(connection.worker)]
            return random.choice(watched if turn % 8 == 1 else hot or watched)
        return self._good[turn // 2 % len(self._good)] if self._good else None

    def _hear(self, connection: Connection) -> None:
        assert connection.socket is not None
        try:
            said = connection.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._fail(connection, CUT)
            return
        connection.heard += said
        head, end, body = connection.heard.partition(b"\r\n\r\n")
        if end and len(body) >= int(_field(head, b"\r\ncontent-length:")):
            self._answered(connection, head)

    def _answered(self, connection: Connection, head: bytes) -> None:
        now, key = time.monotonic(), connection.key
        pid, began, decided = _field(head, b"\r\nx-decided:").split()
        status = int(head[9:12])
        assert key is not None
        self._note(connection, status, int(pid), float(began), float(decided), now)
        self._tell_news(key, connection.worker, status, float(decided))
        connection.key, connection.heard = None, b""
        if self._gap:
            self._later(connection, max(now, connection.sent + self._gap))
        else:
            self._next(connection)

    def _tell_news(self, key: Key, worker: int, status: int, at: float) -> None:
        if key.accepted is not None and key.said.get(worker) != status:
            key.said[worker] = status
            if key.number in self._watched:
                _tell("says", key.number, worker, status, at)

    def _note(
        self,
        connection: Connection,
        status: int,
        pid: int,
        began: float,
        decided: float,
        now: float,
    ) -> None:
        key, worker, sent = connection.key, connection.worker, connection.sent
        assert key is not None
        self._count += 1
        record = key.number, worker, status, pid, sent, began, decided, now
        self._file.write(LAYOUT.pack(*record))

    def _fail(self, connection: Connection, status: int) -> None:
        """Give a connection up; one that is idle has its next request before it already."""
        now = time.monotonic()
        if connection.key is not None:
            self._note(connection, status, 0, connection.sent, now, now)
            self._later(connection, now + AGAIN_AFTER)
        if connection.socket is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection.socket)
        connection.close()

    def _give_up(self, now: float) -> None:
        for key in list(self._selector.get_map().values()):
            connection = key.data
            if connection and connection.key and now - connection.sent > GIVEN_UP_AFTER:
                self._fail(connection, SILENT)


def _field(head: bytes, name: bytes) -> bytes:
    lowered = head.lower()
    start = lowered.index(name) + len(name)
    return lowered[start:].partition(b"\r\n")[0]


def _tell(*what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    Load(sys.argv[1]).run()
