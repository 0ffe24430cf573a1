"""The two consumers of procedures: one blocks, one awaits. Neither decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from keybound.core.effects import Effect, Steps

T = TypeVar("T")


class Perform(Protocol):
    """Answers effects, blocking."""

    def __call__(self, effect: Effect[Any], /) -> Any:  # noqa: ANN401 - the effect says what
        """Return what the effect asks for; raise ``KeyboundError`` when it cannot be had."""


class AsyncPerform(Protocol):
    """Answers effects, awaiting."""

    async def __call__(self, effect: Effect[Any], /) -> Any:  # noqa: ANN401 - the effect says what
        """Return what the effect asks for; raise ``KeyboundError`` when it cannot be had."""


def run(steps: Steps[T], perform: Perform) -> T:
    """Drive a procedure to its end in this thread; one that is interrupted ends there and then."""
    try:
        effect = next(steps)
        while True:
            try:
                answer = perform(effect)
            except Exception as error:  # noqa: BLE001 - what a failure means, the procedure knows
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:  # a traceback may keep the procedure, and what it holds, for long
        steps.close()


async def arun(steps: Steps[T], perform: AsyncPerform) -> T:
    """Drive a procedure to its end in this task; one that is cancelled ends there and then."""
    try:
        effect = next(steps)
        while True:
            try:
                answer = await perform(effect)
            except Exception as error:  # noqa: BLE001 - what a failure means, the procedure knows
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        steps.close()
