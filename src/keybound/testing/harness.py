"""Issue, change and check keys in tests of an application, against its own routes and settings."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from keybound.core.credentials import parse_forms
from keybound.core.decision import Allowed
from keybound.core.effects import Commit, LogHead
from keybound.core.explain import MEANINGS
from keybound.core.reasons import Reason
from keybound.core.refusals import DENIAL_HEADER, REFUSALS
from keybound.core.secret import Secret
from keybound.engine import Engine
from keybound.guard import BaseGuard, Guard
from keybound.settings import USAGE_EVERY, Settings
from keybound.stores.memory import MemoryStore
from keybound.stores.rules import logged
from keybound.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Unpack

    from keybound.core.credentials import CredentialForm
    from keybound.core.effects import Effect, Steps
    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt
    from keybound.core.usage import Usage
    from keybound.engine import Decide
    from keybound.judge import Outcome, Settled
    from keybound.options import ChangeOptions, KeyOptions

R = TypeVar("R")
T = TypeVar("T")

_SECRET = Secret("every guard of a test has this one secret")


class Response(Protocol):
    """What test clients answer alike: httpx, Starlette, FastAPI, Flask, Django and WebTest."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...


@dataclass(frozen=True, slots=True)
class TestKey:
    """An issued key in a test."""

    __test__ = False

    issued: IssuedKey
    form: CredentialForm

    @property
    def id(self) -> str:
        """The public id."""
        return self.issued.id

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the key; none where ``query`` does."""
        place, written = self.form.place, self._written()
        if place.header is None:
            return {}
        return {place.header: f"{place.name}={written}" if place.kind == "cookie" else written}

    @property
    def query(self) -> str:
        """The query string that carries the key; empty where ``headers`` do."""
        return "" if self.headers else f"{self.form.place.name}={self._written()}"

    def _written(self) -> str:
        return (
            self.form.write(self.issued.secret.reveal()).removeprefix(self.form.place.tag).decode()
        )


class Harness:
    """A store in memory and a fake clock for every guard; decisions are those of production.

    What a test changes holds at once, in all of them.
    """

    __test__ = False

    def __init__(self, settings: Settings | None = None, *, clock: FakeClock | None = None) -> None:
        """Start with an empty store; without settings, with those of the application's guard."""
        self.clock = clock or FakeClock()
        self._store = SharedStore()
        self._settings = settings
        self._real: dict[Engine, Engine] = {}
        self._guards: dict[BaseGuard, Engine] = {}
        self._guard: Guard | None = None

    @property
    def guard(self) -> Guard:
        """A guard with every verb: that of the application, or of the newest if there are more."""
        if self._guard is None:
            if not self._guards and self._settings is None:
                self._wake_project()
            newest = next(reversed(self._guards), None)
            if self._settings is not None or newest is None:
                self._guard = Guard(self._engine(self._settings or Settings()))
            else:
                self._guard = Guard(newest.engine)
        return self._guard

    def issue(self, *, name: str = "test", **options: Unpack[KeyOptions]) -> TestKey:
        """Make a key; the name is only needed where a test looks at it."""
        issued = self.guard.issue(name=name, **options)
        return TestKey(issued, self._form())

    def _form(self) -> CredentialForm:
        """Return a form that every guard reads, or else one that the guard of this does.

        One of a header comes before one of the query.
        """
        parsed = parse_forms(self.guard.settings.credentials)
        forms = sorted(parsed, key=lambda form: form.place.header is None)
        shared = [parse_forms(each.settings.credentials) for each in self._guards]
        common = (form for form in forms if all(form in others for others in shared))
        return next(common, forms[0])

    def revoke(self, key: TestKey | str, **options: Unpack[ChangeOptions]) -> Receipt:
        """End a key for ever."""
        return self.guard.revoke(_id(key), **options)

    def disable(self, key: TestKey | str, **options: Unpack[ChangeOptions]) -> Receipt:
        """Suspend a key."""
        return self.guard.disable(_id(key), **options)

    def usage(self, key: TestKey | str) -> Usage:
        """Return how often a key let a request in and was refused, up to this moment."""
        for engine in self._store.engines:
            engine.recorder.record()
        return self.guard.usage([_id(key)])[_id(key)]

    def assert_denied(self, response: Response, reason: str | Reason) -> None:
        """Fail unless the response is a refusal for exactly this reason, whatever clients see."""
        expected = Reason(reason)
        denial = response.headers.get(DENIAL_HEADER)
        if denial is None:
            msg = f"expected {expected}, but the request was let through ({response.status_code})"
            raise AssertionError(msg)
        found = self.guard.explain_denial(denial)
        if found.reason is not expected or response.status_code != REFUSALS[expected].status:
            where = f" by {found.step.check} of {found.step.node}" if found.step else ""
            msg = f"expected {expected}, but it was {found.reason} ({response.status_code}){where}"
            raise AssertionError(msg)

    def assert_allowed(self, response: Response) -> None:
        """Fail if the response is a refusal of ours, or if no request was let in for its key."""
        denial = response.headers.get(DENIAL_HEADER)
        if denial is not None:
            explained = self.guard.explain_denial(denial)
            msg = f"refused: {explained.reason}. {explained.meaning}"
            raise AssertionError(msg)
        if not self._store.allowed:
            msg = f"no key was let in ({response.status_code}): is keybound installed in front of "
            msg += "the application, is the path protected, and was the key sent?"
            raise AssertionError(msg)

    def assert_reported(self, key: TestKey | str, reason: str | Reason) -> None:
        """Fail unless a request was let through that the key would be refused for this reason.

        That is what becomes of the limits of a node with the right ``report_only``.
        """
        expected = Reason(reason)
        totals = [engine.refuser.totals("would_refuse") for engine in self._store.engines]
        found = {why for each in totals for who, why in each if who == _id(key)}
        if expected not in found:
            said = ", ".join(sorted(found)) or "nothing"
            msg = f"expected a report of {expected}, but what was reported is {said}"
            raise AssertionError(msg)

    def attach(self, request: R, key: TestKey) -> R:
        """Return a request of Django's ``RequestFactory`` as the middleware lets it through.

        It is decided with the key, by the guard of the project, and has ``api_key``. Fails where
        it would be refused, naming the reason, and where no key is needed.
        """
        from keybound.django.attaching import attach

        reason = attach(request, key.headers, key.query)
        if reason is not None:
            msg = f"refused: {reason}. {MEANINGS[reason]}"
            raise AssertionError(msg)
        if getattr(request, "api_key", None) is None:
            msg = "no key is needed for this request, so that it has no identity"
            raise AssertionError(msg)
        return request

    @contextmanager
    def installed(self) -> Generator[None]:
        """Let every guard of this process use this store and clock, each with its own settings.

        Those too that are made meanwhile; in the end each is what it was.
        """
        if len(BaseGuard.live) > 1:
            gc.collect()  # guards of earlier tests, which nobody uses any more
        for guard in list(BaseGuard.live):
            self._take_over(guard)
        BaseGuard.newcomers.append(self._take_over)
        try:
            yield
        finally:
            BaseGuard.newcomers.remove(self._take_over)
            for guard, engine in self._guards.items():
                guard.bind(engine)

    def _wake_project(self) -> None:
        """Let a project of Django make its guard, which it has from its first request on."""
        if "keybound.django.apps" in sys.modules and self._take_over in BaseGuard.newcomers:
            from keybound.django import guard

            guard()

    def _take_over(self, guard: BaseGuard) -> None:
        if guard.engine in self._store.engines:  # made from a guard that was taken over
            self._guards[guard] = self._real.get(guard.engine, guard.engine)
            return
        self._guards[guard] = guard.engine
        for mine, real in self._real.items():
            if real is guard.engine:
                guard.bind(mine)
                return
        mine = self._engine(guard.settings)
        self._real[mine] = guard.engine
        guard.bind(mine)

    def _engine(self, settings: Settings) -> Engine:
        # One store has one secret and one kind of keys, ``kb_test_...``, which are good nowhere
        # else; and time passes only when it is told to.
        shared = replace(
            settings,
            database="memory://",
            redis=None,
            secret=_SECRET,
            retired_secrets=(),
            prefix="kb",
            accepted_prefixes=(),
            environment="test",
            usage_every=settings.usage_every or USAGE_EVERY,
        )
        engine = NotedEngine(shared, self._store, self.clock, background=False)
        engine.noted = self._store
        self._store.engines.append(engine)
        return engine


class NotedEngine(Engine):
    """An engine that notes whether it ever let a key in."""

    noted: SharedStore

    def decide_for(self, application: object | None) -> Decide:
        """Return what decides requests to an application."""
        decide = super().decide_for(application)

        def noting(*asked: Any) -> Outcome:  # noqa: ANN401 - as the engine has them
            outcome = decide(*asked)
            if isinstance(outcome, Allowed):
                self.noted.allowed = True
            return outcome

        return noting

    def authorized(self, *asked: Any, **how: Any) -> Steps[Settled]:  # noqa: ANN401 - the same
        """Decide a request."""
        decided = yield from super().authorized(*asked, **how)
        if isinstance(decided, Allowed):
            self.noted.allowed = True
        return decided


class SharedStore(MemoryStore):
    """A store whose changes hold at once in every engine that has it.

    ``allowed``: some request was let in for its key.
    """

    def __init__(self) -> None:
        """Begin empty, and without engines."""
        super().__init__()
        self.engines: list[Engine] = []
        self.allowed = False

    def perform(self, effect: Effect[T]) -> T:
        """Answer one effect."""
        answer = super().perform(effect)
        if isinstance(effect, Commit) and isinstance(answer, LogHead):
            for engine in self.engines:
                engine.cache.raise_floors(logged(effect), answer)
        return answer


def _id(key: TestKey | str) -> str:
    return key if isinstance(key, str) else key.id
