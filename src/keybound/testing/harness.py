"""Issue, change and check keys in tests of an application, against its own routes and settings."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from keybound.core.reasons import Reason
from keybound.core.refusals import DENIAL_HEADER, REFUSALS
from keybound.engine import Engine
from keybound.guard import BaseGuard, Guard
from keybound.settings import Settings
from keybound.stores.memory import MemoryStore
from keybound.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Unpack

    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt
    from keybound.verbs import ChangeOptions, IssueOptions


class Response(Protocol):
    """What the test clients of httpx, Starlette, FastAPI, Flask and Django answer alike."""

    @property
    def status_code(self) -> int:
        """The status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""


@dataclass(frozen=True, slots=True)
class TestKey:
    """An issued key in a test."""

    __test__ = False

    issued: IssuedKey

    @property
    def id(self) -> str:
        """The public id."""
        return self.issued.id

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the key."""
        return {"Authorization": f"Bearer {self.issued.secret.reveal()}"}


class Harness:
    """A guard in memory under a fake clock that decides exactly as in production."""

    __test__ = False

    def __init__(self, settings: Settings | None = None, *, clock: FakeClock | None = None) -> None:
        """Start with an empty store; without settings, with those of the application's guard."""
        self.clock = clock or FakeClock()
        self._store = MemoryStore()
        self._others = list(BaseGuard.live)
        if settings is None:
            settings = self._others[-1].settings if self._others else Settings()
        self.guard = Guard(self._engine(settings))

    def issue(self, **options: Unpack[IssueOptions]) -> TestKey:
        """Make a key; the name is only needed where a test looks at it."""
        options.setdefault("name", "test")
        return TestKey(self.guard.issue(**options))

    def revoke(self, key: TestKey | str, **options: Unpack[ChangeOptions]) -> Receipt:
        """End a key for ever."""
        return self.guard.revoke(_id(key), **options)

    def disable(self, key: TestKey | str, **options: Unpack[ChangeOptions]) -> Receipt:
        """Suspend a key."""
        return self.guard.disable(_id(key), **options)

    def assert_denied(self, response: Response, reason: str | Reason) -> None:
        """Fail unless the response is a refusal for exactly this reason, whatever clients see."""
        expected = Reason(reason)
        denial = response.headers.get(DENIAL_HEADER)
        if denial is None:
            msg = f"expected {expected}, but the request was let through ({response.status_code})"
            raise AssertionError(msg)
        explained = self.guard.explain_denial(denial)
        if explained.reason is not expected or response.status_code != REFUSALS[expected].status:
            where = f" by {explained.step.check} of {explained.step.node}" if explained.step else ""
            msg = f"expected {expected}, but it was {explained.reason} ({response.status_code}){where}"
            raise AssertionError(msg)

    def assert_allowed(self, response: Response) -> None:
        """Fail if the response is a refusal of ours."""
        denial = response.headers.get(DENIAL_HEADER)
        if denial is not None:
            explained = self.guard.explain_denial(denial)
            msg = f"refused: {explained.reason}. {explained.meaning}"
            raise AssertionError(msg)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let every guard of this process use this store and clock, each with its own settings."""
        real = {guard: guard.engine for guard in self._others}
        try:
            for guard, engine in real.items():
                guard.bind(self._engine(engine.settings))
            yield
        finally:
            for guard, engine in real.items():
                guard.bind(engine)

    def _engine(self, settings: Settings) -> Engine:
        # One store has one secret, here none; and time passes only when it is told to.
        shared = replace(settings, database="memory://", secret=None, retired_secrets=())
        return Engine(shared, self._store, self.clock, background=False)


def _id(key: TestKey | str) -> str:
    return key if isinstance(key, str) else key.id
