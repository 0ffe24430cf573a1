"""What becomes of refused requests and WebSockets of ASGI, accepted or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from keybound.core.refusals import RefusalResponse

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION = 1008
"""Close code of a refused WebSocket (RFC 6455 section 7.4.1)."""

HANDSHAKE = "keybound.handshake"
"""Where the scope of a WebSocket tells whether it was accepted."""


class Handshake:
    """Sends what an application sends, and knows whether it accepted its WebSocket."""

    __slots__ = ("_send", "accepted")

    def __init__(self, send: Send, *, accepted: bool) -> None:
        """Stand before ``send``; another application may have accepted by now."""
        self._send = send
        self.accepted = accepted

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "websocket.accept":
            self.accepted = True
        await self._send(message)


async def send_refusal(scope: Scope, send: Send, answer: RefusalResponse) -> None:
    """Answer a request or a handshake that nobody answered yet, or close an open WebSocket."""
    prefix = ""
    if scope["type"] == "websocket":
        open_by_now = HANDSHAKE in scope and scope[HANDSHAKE].accepted
        if open_by_now or "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        prefix = "websocket."
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.headers]
    start = {"type": f"{prefix}http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    body = b"" if scope.get("method") == "HEAD" else answer.body
    await send({"type": f"{prefix}http.response.body", "body": body})
