"""What became of one request at one subject, and why a case cannot be replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.shells.calls import Answer


class NotReplayableError(Exception):
    """A case says something that this runner has no real thing for: a failure of the runner."""


class ComesLaterError(Exception):
    """A case needs a part of keybound that is not there yet: it is skipped, and listed."""


def said_by(error: BaseException) -> list[str]:
    """Return all that an exception says, and its notes, parts and causes."""
    texts: list[str] = []
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        texts += [repr(each), str(each), repr(each.args), *getattr(each, "__notes__", ())]
        parts = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        waiting += [other for other in (each.__cause__, each.__context__, *parts) if other]
    return texts


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a request.

    ``reason`` is the product's own, ``ok`` or ``exempt``; ``None`` where nothing tells it.
    ``closed``: a WebSocket was refused where nothing can tell the status. ``served`` is what
    reached the application. ``answer`` is missing where there is no shell.
    """

    decision: str
    status: int | None
    reason: str | None
    answer: Answer | None = None
    served: list[dict[str, Any]] = field(default_factory=list)
    identity: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    loads: int = 0
    closed: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """Say it in one line, without anything that a client sent."""
        error = f" {type(self.error).__name__}" if self.error is not None else ""
        return f"{self.decision} {self.status} {self.reason}{error}"
