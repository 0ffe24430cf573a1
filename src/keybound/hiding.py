"""Taking the credential out of what an application sees, and saying that queries are no place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from keybound.core.places import Places

DEPRECATION = "deprecation", "@1735689600"
"""That keys in queries are deprecated (RFC 9745), since RFC 9700 section 4.3.2 said so in 2025."""

_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})

_TARGETS = ("RAW_URI", "REQUEST_URI")


def hide_in_scope(
    scope: MutableMapping[str, Any], places: Places, hidden: Iterable[Places] = ()
) -> None:
    """Take keys out of a scope: out of its query always, out of headers where they are hidden."""
    query: bytes | str | None = scope.get("query_string")
    if isinstance(query, str):  # by Django's test client
        scope["query_string"] = _without(places, query)
    elif query:
        scope["query_string"] = places.without_query(query)
    path, mark, rest = (scope.get("raw_path") or b"").partition(b"?")
    if mark:  # as some servers have it
        scope["raw_path"] = b"%s?%s" % (path, places.without_query(rest))
    for each in hidden:
        scope["headers"] = each.without_headers(scope["headers"])


def hide_in_environ(
    environ: MutableMapping[str, Any], places: Places, hidden: Iterable[Places] = ()
) -> None:
    """Take keys out of an environment in the same way."""
    query: str | None = environ.get("QUERY_STRING")
    if query:
        environ["QUERY_STRING"] = _without(places, query)
        for name in _TARGETS:
            target: str = environ.get(name, "")
            path, mark, rest = target.partition("?")
            if mark:
                environ[name] = f"{path}?{_without(places, rest)}"
    for each in hidden:
        for header in (*each.headers, b"cookie"):
            key = f"HTTP_{header.decode().upper().replace('-', '_')}"
            value: str | None = environ.pop(key, None)
            if value is None:
                continue
            for _, kept in each.without_headers([(header, _bytes(value))]):
                environ[key] = kept.decode("latin-1")


def deprecating(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    """Return a ``send`` whose answers say that keys in queries are deprecated."""
    name, value = DEPRECATION
    field = name.encode(), value.encode()

    async def send_deprecating(message: MutableMapping[str, Any]) -> None:
        if message["type"] in _STARTS:
            headers = [each for each in message.get("headers", ()) if tuple(each) != field]
            message = {**message, "headers": [*headers, field]}
        await send(message)

    return send_deprecating


def start_deprecating(start_response: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``start_response`` that says the same."""

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:  # noqa: ANN401
        return start_response(status, [*headers, DEPRECATION], *error)

    return start


def _without(places: Places, query: str) -> str:
    return places.without_query(_bytes(query)).decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
