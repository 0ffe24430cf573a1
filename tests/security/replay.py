"""One case at one subject, over one way to its records; and the run of a whole case over all."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from tests.security import also, events, faults, floods, spans, subjects, verdicts
from tests.security.checks_of_answers import PURE
from tests.security.extras import take_apart
from tests.security.measured import measured
from tests.security.outcomes import Outcome
from tests.security.sending import Sent, altered, sent
from tests.security.sockets import WITHIN, Socket
from tests.security.texts import text
from tests.security.worlds import Place, Way
from tests.shells.sites import started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from keybound.core.effects import Steps
    from tests.security.cases import Case
    from tests.security.logs import Log
    from tests.security.worlds import RedisPlace

PARALLEL_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every case of a run shares. ``redis`` returns a database, ``None`` without a server."""

    cases: Mapping[str, Case]
    folder: Path
    redis: Callable[[], RedisPlace | None]
    full: bool = False


class Hold:
    """Keeps whoever asks the store until it is told to go on."""

    WITHIN = 5.0

    def __init__(self) -> None:
        """Keep everybody."""
        self.reached, self._open, self._over = Event(), Event(), Event()

    def wait(self) -> None:
        """Wait, in the thread that asks the store."""
        self.reached.set()
        self._open.wait(self.WITHIN)
        self._over.set()

    def release(self) -> None:
        """Let them go on, and wait until they have."""
        self._open.set()
        self._over.wait(self.WITHIN)


@dataclass(slots=True, kw_only=True)
class Replay:
    """One case at one subject, over one way."""

    case: Case
    tools: Tools
    place: Place
    log: Log
    subject: str
    served: subjects.Served | None = None
    each: Sent
    held: Any = None
    cancels: bool = False
    hold: Hold = field(default_factory=Hold)
    cached_after_cancel: bool = False
    waited: float = 0.0
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def cases(self) -> Mapping[str, Case]:
        """Every case of the catalogue."""
        return self.tools.cases

    def text(self, value: object) -> str:
        """Return a text of the case, written out."""
        return text(value, self.place.secrets)

    def send(self, each: Sent | None = None) -> Outcome:
        """Send a request to the subject."""
        each = self.each if each is None else each
        if self.served is None:
            return subjects.pure(self.place, each)
        return self.served.send(each)

    def again(self) -> Outcome:
        """Send the request of the case once more, at a guard that knows nothing."""
        self.place.engine.renew()
        return self.send()

    def authorized(self, each: Sent) -> Steps[Any]:
        """Return the decision on a request as the steps that it takes."""
        return subjects.steps(self.place, each)


def behaviour_of(case: Case) -> str | None:
    """Return what the application of a case does, unless it just answers."""
    found: str | None = (case.request.get("scope") or {}).get("test.app")
    return found


def run_at(case: Case, tools: Tools, way: Way, name: str, log: Log) -> Outcome:
    """Return what becomes of a case at one subject, over one way; raises what does not hold."""
    redis = tools.redis() if way.redis else None
    try:
        place = Place(case, way, folder=tools.folder, redis=redis, full=tools.full)
    except subjects.STARTUP_ERRORS as error:
        outcome = Outcome(decision="error", status=500, reason="startup_error", error=error)
        verdicts.check(case, outcome, odd=False)
        return outcome
    try:
        return _run(case, tools, place, name, log)
    finally:
        if redis is not None:
            faults.mend(redis)
        place.close()
        subjects.forget()


def _run(case: Case, tools: Tools, place: Place, name: str, log: Log) -> Outcome:
    each = sent(case.request, place.secrets)
    behaviour = "stay" if _stays_open(case) else behaviour_of(case)
    reads = "app_body_identical" in case.expected.also
    served = None if name == PURE else subjects.serve(name, place, behaviour, body=reads)
    run = Replay(
        case=case, tools=tools, place=place, log=log, subject=name, served=served, each=each
    )
    for fault in case.world.faults:
        faults.prepare(run, fault)
    if place.redis is not None and case.world.key is not None:
        place.share()
    stays = behaviour == "stay"
    if "no_secret_in_spans" in case.expected.also:
        spans.listen(place.engine)
    if not stays:
        _happen(run)
    with measured(place) as costs, spans.span() as span:
        outcome = asyncio.run(_while_open(run)) if stays else _ask(run)
        if outcome.error is not None:
            span.record_exception(outcome.error)
    outcome.facts = {**costs, **outcome.facts}
    if case.expected.decision == "passthrough":
        _check_passed(outcome)
    elif stays:
        assert outcome.decision == case.expected.decision, outcome.short
    else:
        verdicts.check(case, outcome, odd=place.odd, homeless=_is_homeless(case))
    for text_ in case.expected.also:
        also.check(text_, run, outcome)
    log.check()
    return outcome


def _stays_open(case: Case) -> bool:
    """Return whether a case is about a WebSocket to which something happens while it is open."""
    return any("connect" in event for event in case.world.events)


def _check_passed(outcome: Outcome) -> None:
    """Assert that the application got it without anybody being asked for a key."""
    passed = outcome.decision == "passthrough" or outcome.reason == "exempt"
    assert passed, outcome.short


def _is_homeless(case: Case) -> bool:
    return (case.world.key or {}).get("tenant", "") is None


def _happen(run: Replay) -> None:
    """Let everything happen that comes before the request."""
    world, place = run.case.world, run.place
    for event in world.events:
        events.happen(run, event)
        remember = place.extra.get("remember")
        if remember is not None and "request" in event:
            remember()
    for fault in world.faults:
        faults.install(run, fault)
    within = [each for each in run.case.expected.also if each.startswith("within_s")]
    if within:
        run.waited = take_apart(within[0]).number
        place.pass_time(run.waited)


def _ask(run: Replay) -> Outcome:
    """Send the request of a case, in the way that it says."""
    if run.case.kind == "lifespan":
        return _lifespan(run)
    if "test.flood" in run.each.tests:
        return floods.flood(run)
    if "test.parallel" in run.each.tests and run.served is not None:
        return _parallel(run)
    if run.cancels:
        return _cancelled(run)
    return run.send()


def _lifespan(run: Replay) -> Outcome:
    assert run.served is not None
    said = asyncio.run(started(run.served.app))
    outcome = Outcome(decision="passthrough", status=None, reason="not_applicable")
    outcome.facts = {"said": said, "noted": {"lifespan": len(said) == 2}}
    return outcome


def _parallel(run: Replay) -> Outcome:
    """Send many at once, every other one with another key; the outcome is that of the case's own.

    With ``cancel_first`` the first one is given up while it asks the store.
    """
    how = run.each.tests["test.parallel"]
    served = run.served
    assert served is not None
    other = how.get("with")
    number = min(int(how["n"]), PARALLEL_MAX)
    requests, names = [run.each] * number, ["K1"] * number
    if other is not None:
        value = f"Bearer {run.place.secrets.of(other)}".encode()
        lines = [(k, value if k == b"authorization" else v) for k, v in run.each.headers]
        requests[1::2] = [altered(run.each, headers=lines)] * len(requests[1::2])
        names[1::2] = [other] * len(names[1::2])
    served.recorder.served.clear()
    loads, began = run.place.store.loads, time.perf_counter()
    if served.protocol == "asgi":
        outcomes = asyncio.run(_gathered(served, requests, cancel=bool(how.get("cancel_first"))))
        gc.collect()  # as after any request that was given up
    else:
        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(served._wsgi, requests))  # noqa: SLF001 - one request of it
    first = outcomes[0]
    first.seconds, first.loads = time.perf_counter() - began, run.place.store.loads - loads
    whose = [each.get("keybound") for each in served.recorder.served]
    first.identity = next((each for each in whose if each and each.key_id == "K1"), None)
    if any(whose):
        answered = zip(names[number - len(outcomes) :], outcomes, strict=True)
        wanted = Counter(name for name, each in answered if each.decision != "deny")
        seen = Counter(each.key_id if each else "nobody" for each in whose)
        given_up = number - len(outcomes)  # which may have been served before
        currents = [each.get("current") for each in served.recorder.served]
        first.facts["own_identity"] = (
            all(a is b for a, b in zip(whose, currents, strict=True))
            and not wanted - seen
            and (seen - wanted).total() <= given_up
            and (seen - wanted).keys() <= {"K1"}
        )
    first.facts["valid_ok"] = sum(each.decision == "allow" for each in outcomes) / len(outcomes)
    if run.case.expected.decision != "mixed":
        assert {each.status for each in outcomes} == {first.status}, "some were answered otherwise"
    return first


async def _gathered(
    served: subjects.Served, requests: list[Sent], *, cancel: bool
) -> list[Outcome]:
    tasks = [asyncio.create_task(served.sent(each)) for each in requests]
    if cancel:
        await asyncio.sleep(0)
        tasks[0].cancel()
        with suppress(asyncio.CancelledError):
            await tasks[0]
        tasks = tasks[1:]
    return await asyncio.gather(*tasks)


def _cancelled(run: Replay) -> Outcome:
    """Give a request up while it asks the store."""
    served = run.served
    assert served is not None

    async def give_up() -> bool:
        task = asyncio.create_task(served.sent(run.each))
        await asyncio.to_thread(run.hold.reached.wait, run.hold.WITHIN)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    cancelled = asyncio.run(give_up())
    run.hold.release()  # what was asked is answered, and nobody is there for it
    gc.collect()  # Django leaves the body of a request that was given up to whoever collects it
    run.cached_after_cancel = bool(run.place.engine.cache.entries)
    reason = "cancelled" if cancelled else None
    outcome = Outcome(decision="error", status=None, reason=reason, error=asyncio.CancelledError())
    assert cancelled, "it was not cancelled"
    return outcome


def _within(case: Case) -> float:
    """Return how long to wait for a WebSocket to be closed: not long where it stays open."""
    return WITHIN if case.expected.decision == "close" else 0.5


async def _while_open(run: Replay) -> Outcome:
    """Open a WebSocket, let everything happen while it is open, and wait until it is closed."""
    assert run.served is not None
    socket = Socket(run.served.app, run.each)
    async with socket:
        await socket.opened()
        await asyncio.to_thread(_happen, run)
        code = await socket.closed(within=_within(run.case))
    outcome = Outcome(decision="close" if code else "allow", status=101, reason=None)
    outcome.answer = socket.connection.answer
    return outcome
