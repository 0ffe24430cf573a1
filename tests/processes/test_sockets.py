"""Open WebSockets behind real servers: every one is closed when its key ends."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from keybound import Guard
from tests.services.servers import started

if TYPE_CHECKING:
    from pathlib import Path

_ASGI = "tests.processes.application:asgi"
_UVICORN = ["uvicorn", _ASGI, "--port", "{port}", "--loop"]
_HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:{port}", _ASGI, "--worker-class"]
_GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "{port}", "--interface", "asgi", _ASGI]

SERVERS = {
    "uvicorn": [*_UVICORN, "asyncio"],
    "uvicorn, uvloop": [*_UVICORN, "uvloop"],
    "hypercorn": [*_HYPERCORN, "asyncio"],
    "hypercorn, trio": [*_HYPERCORN, "trio"],
    "granian": [*_GRANIAN, "--loop", "asyncio"],
    "granian, uvloop": [*_GRANIAN, "--loop", "uvloop"],
}
BOUND = 1.5
SOCKETS = 8


@pytest.mark.parametrize("name", SERVERS)
def test_sockets_of_a_revoked_key_are_closed(name: str, tmp_path: Path):
    """Within the bound, with the code of a policy violation; others stay, and nothing fails."""
    settings = {"database": str(tmp_path / "keys.db"), "secret": "a secret of the tests of sockets"}
    given = {
        **settings,
        "close_on_revoke": "true",
        "revoke_within": str(BOUND),
        "sync_every": "0.2",
    }
    environment = {f"KEYBOUND_{setting.upper()}": value for setting, value in given.items()}
    guard = Guard.from_settings(**settings)
    staying, *ending = [guard.issue(name=f"key {number}") for number in range(SOCKETS)]
    with started(SERVERS[name], environment) as server, ExitStack() as stack:
        sockets = {}
        for issued in (staying, *ending):
            headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
            url = f"ws://127.0.0.1:{server.port}/"
            sockets[issued.id] = stack.enter_context(connect(url, additional_headers=headers))
            sockets[issued.id].send("hello")
            assert sockets[issued.id].recv(timeout=10) == "hello"
        for issued in ending:
            guard.revoke(issued.id)
        revoked = time.monotonic()
        for issued in ending:
            with pytest.raises(ConnectionClosed) as closed:
                sockets[issued.id].recv(timeout=max(0, revoked + BOUND - time.monotonic()))
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        sockets[staying.id].send("still there")
        assert sockets[staying.id].recv(timeout=10) == "still there"
    assert "Error" not in "".join(server.said)
    guard.close()
