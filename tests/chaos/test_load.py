"""The client itself: what it writes down of a request is of that request."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.chaos import records
from tests.chaos.client import Client

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

KEYS = range(3)


def answer(connection: socket.socket, *, closes_after: float) -> None:
    """Answer one request, and close the connection a little later, when it is idle."""
    with connection:
        if b"\r\n\r\n" in connection.recv(4096):
            began = time.monotonic()
            decided = f"1 {began:.6f} {time.monotonic():.6f}"
            head = f"HTTP/1.1 200 OK\r\nX-Decided: {decided}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())
            time.sleep(closes_after)


@contextmanager
def closing_server(*, closes_after: float) -> Generator[int]:
    """Serve one request for each connection; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                connection, _ = listening.accept()
                if over.is_set():
                    connection.close()
                    return
                threading.Thread(target=answer, args=[connection], kwargs=later).start()

        over, later = threading.Event(), {"closes_after": closes_after}
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(listening.getsockname()).close()
            thread.join()


def test_server_that_closes_idle_connections_gets_one_request_at_a_time(tmp_path: Path):
    """Otherwise the answer to one of two requests is written down as that to the other."""
    with closing_server(closes_after=0.002) as port, Client(tmp_path / "records") as client:
        for key in KEYS:
            client.ask_for(key, "a")
        client.ask_worker(0, port)
        client.pace(400)
        time.sleep(1.0)
    answered = [seen for seen in records.read(tmp_path / "records") if seen.status == 200]
    assert len(answered) > 50
    # The worker's times are rounded to microseconds.
    assert [seen for seen in answered if seen.began < seen.sent - 1e-6] == []
