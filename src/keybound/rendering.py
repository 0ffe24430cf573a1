"""A site's own rendering of refusals: how they look, never what was decided.

def render(refused: PublicRefusal, answer: RefusalResponse) -> RefusalResponse | None:
    body = json.dumps({"code": refused.status, "message": refused.problem["title"]})
    return RefusalResponse(refused.status, (("content-type", "application/json"),), body.encode())
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from keybound.core.errors import KeyboundError, SettingsError
from keybound.core.refusals import CHALLENGED, DENIAL_HEADER, RefusalResponse
from keybound.core.site_functions import is_awaited
from keybound.plugins import SiteFunction, site_function

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PublicRefusal", "RefusalResponse", "Renderer", "load_renderer", "read_renderer"]

KEPT = frozenset({"cache-control", DENIAL_HEADER.lower(), "retry-after", "vary"})
"""Headers of a refusal that stay, unless a rendering has its own."""

CHALLENGE = "www-authenticate"
"""It stays where the status still is one that has it."""

_OURS = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of a rendering that are not taken: its length is known, the others are the server's."""

_STATUSES = range(400, 600)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRefusal:
    """What a renderer is told: as much as the client would be.

    ``problem`` is the body as a dictionary of its own, ``reason`` the one in it if it has one,
    ``id`` that of the denial, ``headers`` what would be sent with it.
    """

    status: int
    problem: dict[str, Any]
    reason: str | None
    id: str
    headers: tuple[tuple[str, str], ...]


Renderer: TypeAlias = Callable[[PublicRefusal, RefusalResponse], RefusalResponse | None]
"""Returns the answer to a refused request; with ``None`` the given one is sent."""


class RenderingError(KeyboundError):
    """A rendering that cannot be sent; the message holds nothing of it."""


def read_renderer(value: object) -> Renderer | None:
    """Return what a setting says: a function, ``"package.module:function"``, or no renderer.

    What text names is not imported yet. Raises ``SettingsError``.
    """
    if value is None:
        return None
    function = site_function("renderer", value)
    return function if isinstance(function, SiteFunction) else _usable(function)


def load_renderer(value: object) -> Renderer | None:
    """Return the renderer that a setting means, importing what text names.

    Raises ``SettingsError`` for what cannot be imported, or cannot be called without waiting.
    """
    said = read_renderer(value)
    return _usable(said.function) if isinstance(said, SiteFunction) else said


def _usable(found: Callable[..., Any]) -> Renderer:
    if is_awaited(found):
        raise SettingsError("renderer", "is a coroutine function", fix="write it without async")
    return found


def rendered(
    answer: RefusalResponse, render: Renderer, challenges: Sequence[str]
) -> RefusalResponse:
    """Return a refusal as a site renders it; raises whatever keeps that from being sent.

    ``challenges`` are those of a 401 that was none before.
    """
    problem: dict[str, Any] = msgspec.json.decode(answer.body)
    refused = PublicRefusal(
        status=answer.status,
        problem=problem,
        reason=problem.get("reason"),
        id=problem["id"],
        headers=answer.headers,
    )
    shown = cast("object", render(refused, answer))  # nobody may have type-checked it
    if shown is None or shown is answer:
        return answer
    if not isinstance(shown, RefusalResponse):
        raise RenderingError(f"the renderer returned {type(shown).__qualname__}")
    return _completed(_checked(shown), answer, challenges)


def _checked(shown: RefusalResponse) -> RefusalResponse:
    """Return a rendering as it can be sent; raises for what is no refusal, or cannot."""
    loose = cast("Any", shown)
    status, headers, body = loose.status, loose.headers, loose.body
    if type(status) is not int or status not in _STATUSES:
        raise RenderingError("the status is not between 400 and 599")
    if not isinstance(body, bytes):
        raise RenderingError("the body is not bytes")
    body.decode()  # some frameworks send text alone
    fields: list[tuple[str, str]] = []
    for name, value in headers:
        if not (_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value)):
            raise RenderingError("a header has characters that no header can have")
        if name.lower() not in _OURS:
            fields.append((name.lower(), value))
    return RefusalResponse(status, tuple(fields), body)


def _completed(
    shown: RefusalResponse, answer: RefusalResponse, challenges: Sequence[str]
) -> RefusalResponse:
    """Return a rendering with what every refusal has to have."""
    set_by_them = {name for name, _ in shown.headers}
    kept = [each for each in answer.headers if each[0] in KEPT - set_by_them]
    if shown.status in CHALLENGED and CHALLENGE not in set_by_them:
        ours = [each for each in answer.headers if each[0] == CHALLENGE]
        if not ours and shown.status == 401:  # noqa: PLR2004 - RFC 9110 section 15.5.2
            ours = [(CHALLENGE, challenge) for challenge in challenges]
        kept += ours
    if "content-type" not in set_by_them:  # some frameworks would call it HTML
        kept.append(("content-type", "text/plain; charset=utf-8"))
    length = ("content-length", str(len(shown.body)))
    return RefusalResponse(shown.status, (length, *kept, *shown.headers), shown.body)
