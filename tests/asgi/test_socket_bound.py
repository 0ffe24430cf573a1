"""An open socket is closed within ``revoke_within`` of the end of its key, come what may."""

from __future__ import annotations

import asyncio
import time
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from keybound import AsyncGuard
from keybound.asgi import APIKeyMiddleware

if TYPE_CHECKING:
    from pathlib import Path

BOUND = 1.5


async def listen(_scope: Any, receive: Any, send: Any) -> None:
    """Accept, and wait until the client is gone."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def outlived_by(database: str, hanging: Event | None) -> float:
    """Return for how many seconds a socket outlives its key, which another process revokes."""
    guard = AsyncGuard.from_settings(
        database=database, revoke_within=BOUND, sync_every=0.4, close_on_revoke=True
    )
    elsewhere = AsyncGuard.from_settings(database=database)
    issued = await guard.issue(name="socket")
    closed, opened = asyncio.Event(), asyncio.Event()
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "websocket.connect"})

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        (closed if message["type"] == "websocket.close" else opened).set()

    scope = {
        "type": "websocket",
        "path": "/",
        "headers": [(b"authorization", f"Bearer {issued.secret.reveal()}".encode())],
    }
    serving = asyncio.create_task(APIKeyMiddleware(listen, guard)(scope, inbox.get, send))
    await opened.wait()
    if hanging is not None:
        store = guard.engine.store
        perform = store.perform

        def hang(effect: Any) -> Any:
            hanging.wait()
            return perform(effect)

        store.perform = hang
    await elsewhere.revoke(issued.id)
    revoked_at = time.monotonic()
    await asyncio.wait_for(closed.wait(), 3 * BOUND)
    seconds = time.monotonic() - revoked_at
    if hanging is not None:
        hanging.set()
    await asyncio.wait_for(serving, BOUND)
    await guard.close()
    await elsewhere.close()
    return seconds


@pytest.mark.parametrize("hanging", [None, Event()], ids=["store answers", "store hangs"])
def test_socket_is_closed_within_the_bound(tmp_path: Path, hanging: Event | None):
    """Within two syncs if the store answers, and within ``revoke_within`` in any case."""
    seconds = asyncio.run(outlived_by(str(tmp_path / "keys.db"), hanging))
    assert seconds < BOUND
