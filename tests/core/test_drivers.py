"""The two drivers: the same steps, the same answers, the same failures."""

from __future__ import annotations

import asyncio

import pytest

from keybound.core.effects import Effect, Sleep, ask
from keybound.drivers import arun, run


def blocking(steps, answer):
    """Drive with the blocking driver."""
    return run(steps, answer)


def awaiting(steps, answer):
    """Drive with the awaiting driver."""

    async def perform(effect):
        await asyncio.sleep(0)
        return answer(effect)

    return asyncio.run(arun(steps, perform))


@pytest.fixture(params=[blocking, awaiting])
def drive(request):
    """Return a driver as a function of steps and of what answers effects."""
    return request.param


def fail(effect):
    """Answer nothing."""
    raise LookupError(effect)


def test_effects_are_answered_in_order(drive):
    """Each with its own answer, and what the procedure returns is returned."""

    def steps():
        first = yield Sleep(1)
        second = yield Sleep(first + 1)
        return first, second

    asked = []

    def answer(effect):
        asked.append(effect)
        return effect.seconds * 10

    assert drive(steps(), answer) == (10, 110)
    assert asked == [Sleep(1), Sleep(11)]


def test_a_procedure_without_effects_just_returns(drive):
    """Nothing is asked."""

    def steps():
        yield from ()
        return 7

    assert drive(steps(), fail) == 7


def test_a_failure_is_thrown_in_so_that_the_procedure_decides(drive):
    """It may go on, with further effects, and end well."""

    def steps():
        try:
            yield from ask(Sleep(1))
        except LookupError:
            return (yield from ask(Sleep(2)))

    assert drive(steps(), lambda effect: fail(effect) if effect == Sleep(1) else "later") == "later"


def test_a_failure_that_the_procedure_does_not_handle_reaches_the_caller(drive):
    """As it was raised, after the procedure has cleaned up."""
    cleaned = []

    def steps():
        try:
            yield from ask(Sleep(1))
        finally:
            cleaned.append(True)

    with pytest.raises(LookupError, match="Sleep"):
        drive(steps(), fail)
    assert cleaned == [True]


def test_what_a_procedure_raises_reaches_the_caller(drive):
    """An error of its own is not mistaken for one of a port."""

    def steps():
        yield Effect()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        drive(steps(), lambda _effect: None)


def test_an_interrupted_procedure_ends_there_and_then(drive):
    """It cleans up before its caller goes on, and not when nobody refers to the error any more."""
    ended = []

    def steps():
        try:
            yield from ask(Sleep(60))
        finally:
            ended.append(True)

    def interrupt(_effect):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        drive(steps(), interrupt)
    assert (caught.type, ended) == (KeyboardInterrupt, [True])  # with all of its traceback here


def test_a_cancelled_task_ends_its_procedure_there_and_then():
    """It cleans up, and asks for nothing more."""
    ended = []

    def steps():
        try:
            yield from ask(Sleep(60))
        finally:
            ended.append(True)

    async def perform(effect):
        await asyncio.sleep(effect.seconds)

    async def cancel():
        task = asyncio.create_task(arun(steps(), perform))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]

    asyncio.run(cancel())
