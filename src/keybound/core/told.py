"""What a request says of itself besides its method, path, peer and credential."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from keybound.core.bodies import BodyFields


class Unsaid(Enum):
    """Nobody was asked: the route alone says."""

    UNSAID = "unsaid"


UNSAID = Unsaid.UNSAID

PREFLIGHT = "OPTIONS"
"""The method with which browsers ask before another request."""


class ReadBody(NamedTuple):
    """What was looked for in a body, and the models there; ``None`` if that cannot be told."""

    fields: BodyFields
    models: tuple[str, ...] | None


class Told(NamedTuple):
    """A part of what a decision is about, so that it can be remembered with it.

    ``tenant`` is what ``tenant_from`` answered, if there is that setting. ``taken_for`` are
    methods that the request asks to be taken for: it must be permitted as each of them.
    ``crooked``: the raw path is not the one that is routed by, so that its fields say nothing.
    """

    tenant: str | Unsaid | None = UNSAID
    taken_for: tuple[str, ...] = ()
    crooked: bool = False
    preflight: bool = False
    in_header: bool = True
    body: ReadBody | None = None


PLAIN = Told()
