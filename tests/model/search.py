"""Every state that a small machine can reach, breadth first, so that what is found is shortest."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

State = TypeVar("State")


class FoundError(AssertionError):
    """A state breaks the claim; the message lists the steps to it."""


def search(
    start: State,
    successors: Callable[[State], Iterable[tuple[str, State]]],
    broken: Callable[[State], str | None],
) -> int:
    """Return how many states can be reached; raise ``FoundError`` for the first that is broken."""
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    frontier = [start]
    while frontier:
        following: list[State] = []
        for state in frontier:
            problem = broken(state)
            if problem is not None:
                raise FoundError("\n".join([*_steps_to(state, came_from), problem]))
            for step, successor in successors(state):
                if successor not in came_from:
                    came_from[successor] = state, step
                    following.append(successor)
        frontier = following
    return len(came_from)


def _steps_to(state: State, came_from: dict[State, tuple[State, str] | None]) -> list[str]:
    steps: list[str] = []
    at = came_from[state]
    while at is not None:
        state, step = at
        steps.append(f"{step}: {state}")
        at = came_from[state]
    return steps[::-1]
