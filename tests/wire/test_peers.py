"""Where a request comes from: the peer of the connection, and no header."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.services.servers import start, started
from tests.wire.connections import Answer, Connection
from tests.wire.safety import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.servers import Address
    from tests.wire.servers import Fleet

FORWARDED = b"X-Forwarded-For: 10.0.0.1"

ALONE = {
    "uvicorn": ["uvicorn", "tests.wire.application:asgi", "--uds", "{socket}"],
    "granian, ASGI": [
        "granian",
        "--interface",
        "asgi",
        "tests.wire.application:asgi",
        "--uds",
        "{socket}",
    ],
    "granian, WSGI": [
        "granian",
        "--interface",
        "wsgi",
        "tests.wire.application:wsgi",
        "--uds",
        "{socket}",
    ],
    "waitress": ["waitress-serve", "--unix-socket={socket}", "tests.wire.application:wsgi"],
}
"""Servers that listen at a socket of the machine and nowhere else."""


def ask(address: Address, fleet: Fleet, key: str, *lines: bytes) -> Answer:
    """Send one request with the key of that name."""
    head = (
        b"GET /own HTTP/1.1",
        b"Host: localhost",
        *lines,
        b"Authorization: Bearer {%s}" % key.encode(),
    )
    with Connection(address) as connection:
        connection.send(fleet.with_keys(b"\r\n".join((*head, b"", b""))))
        answer = connection.read()
    check(answer, {key})
    return answer


@pytest.fixture(scope="session")
def sockets(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Address]]:
    """Return where servers listen at a socket of the machine."""
    folder = tmp_path_factory.mktemp("sockets")
    found = {name: fleet.socket(name) for name in ("hypercorn", "gunicorn, sync")}
    with ExitStack() as stack:
        servers = {}
        for name, command in ALONE.items():
            found[name] = str(folder / f"{len(found)}.sock")
            servers[name] = start(command, fleet.environment, socket=str(found[name]))
            stack.callback(servers[name].end)
        for name, server in servers.items():
            server.wait(found[name])
        yield found


@pytest.mark.parametrize("name", [*ALONE, "hypercorn", "gunicorn, sync"])
def test_socket_of_the_machine_is_no_network(fleet: Fleet, sockets: dict[str, Address], name: str):
    """Whoever comes by such a socket has no address: a key with networks is refused, none other."""
    address = sockets[name]
    assert ask(address, fleet, "plain", FORWARDED).outcome == "served"
    for key in ("here", "elsewhere"):
        for lines in ((), (FORWARDED,), (b"X-Forwarded-For: 127.0.0.1",)):
            answer = ask(address, fleet, key, *lines)
            assert (answer.outcome, answer.status) == ("refused", 403)


def test_uvicorn_believes_its_own_machine_unless_told(fleet: Fleet):
    """Hence ``--no-proxy-headers``: whoever runs beside it may say where they come from."""
    command = ["uvicorn", "tests.wire.application:asgi", "--port", "{port}"]
    with started(command, fleet.environment) as server:
        address = "127.0.0.1", server.port
        assert ask(address, fleet, "here").outcome == "served"
        assert ask(address, fleet, "here", FORWARDED).outcome == "refused"
        told = ask(address, fleet, "plain", FORWARDED).told or {}
        assert told["peer"] == "10.0.0.1"
    assert "".join(server.said).count("uvicorn --no-proxy-headers") == 1


def test_some_servers_take_an_underscore_for_a_hyphen(fleet: Fleet):
    """Behind these, a header is forged past a proxy that hands names with underscores on."""
    lines = (b"Host: localhost", b"X-Forwarded-For: 192.0.2.1", b"X_Forwarded_For: 10.0.0.1")
    answers = fleet.ask(b"\r\n".join((b"GET /open HTTP/1.1", *lines, b"", b"")))
    taken = {
        server: value
        for server, answer in answers.items()
        for name, value in (answer.seen or {})["headers"]
        if name in {"x-forwarded-for", "HTTP_X_FORWARDED_FOR"} and value != "192.0.2.1"
    }
    assert taken == {"granian, WSGI": "10.0.0.1", "wsgiref": "192.0.2.1,10.0.0.1"}
