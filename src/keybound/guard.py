"""The guard of an application: the decision, and the verbs that issue, change and end keys.

``Guard`` blocks, ``AsyncGuard`` awaits; the verbs and their arguments are the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from keybound import metrics
from keybound.blocking import BlockingVerbs
from keybound.clocks import SystemClock
from keybound.core.chain import kind_of
from keybound.core.coherence import sync
from keybound.drivers import arun, run
from keybound.engine import Engine
from keybound.joined import join
from keybound.loops import here
from keybound.settings import Settings
from keybound.stores import open_store
from keybound.verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Unpack

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session, scoped_session

    from keybound.core.effects import Effect, Steps
    from keybound.core.explain import DenialExplanation, Explanation
    from keybound.core.head import Head
    from keybound.core.identity import Identity
    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt
    from keybound.core.limits import Limits
    from keybound.core.nodes import StoredNode
    from keybound.core.reasons import Reason
    from keybound.core.table import RouteTable
    from keybound.core.told import Told
    from keybound.core.usage import Usage
    from keybound.joined import Joined
    from keybound.judge import Outcome, Settled
    from keybound.options import (
        ChangeOptions,
        ExplainOptions,
        GroupOptions,
        IssueOptions,
        ListOptions,
        UpdateOptions,
    )
    from keybound.stores.hosting import Host
    from keybound.verbs import Shown

T = TypeVar("T")


class BaseGuard:
    """What both guards are: an engine, and the calls that never wait.

    :param engine: shared with another guard of this process, so that both see one cache.
    """

    live: ClassVar[WeakKeyDictionary[BaseGuard, None]] = WeakKeyDictionary()
    """Every guard of this process, oldest first, so that test fixtures can find them."""

    newcomers: ClassVar[list[Callable[[BaseGuard], None]]] = []
    """What is called with every guard that is made; test fixtures take them over with it."""

    def __init__(self, engine: Engine, application: object | None = None) -> None:
        """Guard with this engine; ``from_settings`` is the usual way to one."""
        self.application = application
        self._parts: WeakSet[BaseGuard] = WeakSet()
        self.bind(engine)
        BaseGuard.live[self] = None
        for notice in BaseGuard.newcomers:
            notice(self)

    @classmethod
    def from_settings(
        cls,
        *,
        settings_file: str | Path | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> Self:
        """Make a guard from arguments over environment over TOML file over defaults.

        Raises ``SettingsError`` naming the setting. Nothing is opened before the first use.
        """
        chosen = Settings.load(settings, file=settings_file)
        store = open_store(chosen.database, connections=chosen.store_connections)
        engine = Engine(chosen, store, SystemClock())
        metrics.watch(engine)
        return cls(engine)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.engine.settings

    def of(self, application: object) -> Self:
        """Return a guard of one application, which decides by what that declares as well.

        All else they have in common, even if this one is bound to another engine.
        """
        self.engine.refuser.load()
        part = type(self)(self.engine, application)
        self._parts.add(part)
        return part

    @property
    def table(self) -> RouteTable:
        """The routes that decide requests to the application."""
        return self.engine.rules.judge_of(self.application).table

    def bind(self, engine: Engine) -> None:
        """Use another engine from now on; tests do."""
        for part in list(self._parts):
            part.bind(engine)
        self.engine = engine
        with engine.attaching(self) as decide:
            self.decide = decide
        self.refuse = engine.refuser.refuse
        self.reader = engine.reader
        self.reads_all = engine.reader.always
        self._verbs = Verbs(engine)

    def decides_again(self, identity: Identity | None) -> None:
        """Count a request once that was let in, and is decided anew since more is known of it."""
        if identity is not None and kind_of(identity.key_id, None) == "key":
            self.engine.counts.take_back(identity.key_id)

    def __repr__(self) -> str:
        """Name the store, whose location holds no password."""
        return f"{type(self).__name__}({self.engine.store.location!r})"


class Guard(BlockingVerbs, BaseGuard):
    """A guard whose verbs block; for WSGI, scripts and threads."""

    def to_async(self) -> AsyncGuard:
        """Return the awaiting guard over the same cache."""
        return AsyncGuard(self.engine, self.application)

    def open(self) -> None:
        """Open the store now, so that what is wrong with it or the settings shows at start."""
        self._run(self.engine.opened(_nothing()))

    def close(self) -> None:
        """Stop syncing and let the store go; the next use opens it again."""
        self.engine.close()

    def authorize(  # noqa: PLR0917 - as the warm path has them
        self,
        method: str,
        path: str,
        peer: str | None,
        raw: bytes | Reason | None,
        told: Told | None = None,
        head: Head | None = None,
        *,
        routed: bool = True,
        outcome: Outcome | None = None,
    ) -> Settled:
        """Return the decision on a request, as ``decide`` does; asks the store on a miss.

        Unless ``routed``, no router is asked: for a view that depends on more than the path.
        ``outcome`` is what ``decide`` said of the same request, so that it is not decided again.
        """
        steps = self.engine.authorized(
            *(method, path, peer, raw, told, head),
            application=self.application,
            routed=routed,
            outcome=outcome,
        )
        del raw  # whoever interrupts this and reports it shows what the frames of a traceback hold
        return run(steps, self.engine.performer.perform_for_request)

    def joining(
        self, host: Session | scoped_session[Session] | Connection | Host
    ) -> AbstractContextManager[Joined]:
        """Change keys within the transaction of a SQLAlchemy session or connection.

        Yields the same verbs; what they do is committed with all else of that transaction, or not
        at all. Raises ``InputError`` where there is none, or where it is in another database.
        """
        return join(self.engine, host)

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, self.engine.perform)


class AsyncGuard(BaseGuard):
    """A guard whose verbs await; for ASGI. The store is asked from a few worker threads."""

    def bind(self, engine: Engine) -> None:
        """Use an engine, or what it decides with now."""
        super().bind(engine)
        # Made anew in a forked child as well: the threads of an executor do not survive a fork.
        self._threads = ThreadPoolExecutor(
            engine.settings.store_connections, thread_name_prefix="keybound-store"
        )

    def to_sync(self) -> Guard:
        """Return the blocking guard over the same cache."""
        return Guard(self.engine, self.application)

    async def open(self) -> None:
        """Open the store now, so that what is wrong with it or the settings shows at start."""
        await self._run(self.engine.opened(_nothing()))

    async def close(self) -> None:
        """Stop syncing and let the store and the threads go; the next use takes them again."""
        threads = self._threads
        await here().by(threads, self.engine.recorder.finish)
        self.bind(self.engine)
        threads.shutdown(wait=False)
        if self.engine.shared is not None:
            await self.engine.shared.close()
        self.engine.close()

    async def authorize(  # noqa: PLR0917 - as the warm path has them
        self,
        method: str,
        path: str,
        peer: str | None,
        raw: bytes | Reason | None,
        told: Told | None = None,
        head: Head | None = None,
        *,
        routed: bool = True,
        outcome: Outcome | None = None,
    ) -> Settled:
        """Return the decision on a request, as ``decide`` does; asks the store on a miss.

        ``routed`` and ``outcome`` are as with ``Guard``.
        """
        steps = self.engine.authorized(
            *(method, path, peer, raw, told, head),
            application=self.application,
            routed=routed,
            outcome=outcome,
        )
        del raw  # whoever interrupts this and reports it shows what the frames of a traceback hold
        return await arun(steps, self._perform_for_request)

    async def keep_up(self, seconds: float) -> None:
        """Ask the store what changed, unless what is known holds for so long from now.

        Raises ``StoreError``.
        """
        cache, clock = self.engine.cache, self.engine.clock
        if cache.leased_for(clock.boot(), clock.wall()) < seconds:
            steps = self.engine.opened(sync(self.engine.rules.worker))
            await arun(steps, self._perform_for_request)

    async def issue(self, **options: Unpack[IssueOptions]) -> IssuedKey:
        """Make a key; ``secret.reveal()`` is the key itself, here and never again.

        A limit that is left out is taken over from the ``parent``, except scopes, which a key
        has only by name. Raises ``InputError``, ``ExceedsCeilingError``, ``NotFoundError``.
        """
        return await self._run(self._verbs.issue(**options))

    async def create_group(self, **options: Unpack[GroupOptions]) -> Receipt:
        """Make a group; its limits and state hold for every key in it. Raises ``InputError``."""
        return await self._run(self._verbs.create_group(**options))

    async def show(self, node_id: str) -> Shown:
        """Return a key or group as it is stored now. Raises ``NotFoundError``."""
        return await self._run(self._verbs.show(node_id))

    async def list(self, **options: Unpack[ListOptions]) -> tuple[StoredNode, ...]:
        """Return up to ``limit`` (100) keys, or groups, with ids above ``after``, by id.

        With ``unused_for``, such as ``"90d"``, those keys that nobody used for so long and that
        are not revoked: this looks at every key.
        """
        return await self._run(self._verbs.list(**options))

    async def usage(self, key_ids: Sequence[str]) -> dict[str, Usage]:
        """Return how keys were used, as it is recorded by now; of nothing if the store cannot."""
        return await self._run(self._verbs.usage(key_ids))

    async def restrict(
        self,
        node_id: str,
        limits: Limits | Mapping[str, object],
        **options: Unpack[ChangeOptions],
    ) -> Receipt:
        """Narrow a key or group; nothing it may not do now can become permitted."""
        return await self._run(self._verbs.restrict(node_id, limits, **options))

    async def update(self, node_id: str, **options: Unpack[UpdateOptions]) -> Receipt:
        """Change members, and replace the limits that are named; ``*`` takes a limit away."""
        return await self._run(self._verbs.update(node_id, **options))

    async def enable(self, node_id: str, **options: Unpack[ChangeOptions]) -> Receipt:
        """Let a disabled key or group live again. Raises ``InputError`` for a revoked one."""
        return await self._run(self._verbs.enable(node_id, **options))

    async def disable(self, node_id: str, **options: Unpack[ChangeOptions]) -> Receipt:
        """Suspend a key or group, and with it every key below."""
        return await self._run(self._verbs.disable(node_id, **options))

    async def revoke(self, node_id: str, **options: Unpack[ChangeOptions]) -> Receipt:
        """End a key or group for ever; no worker accepts it after ``effective_by``."""
        return await self._run(self._verbs.revoke(node_id, **options))

    async def explain(
        self, key_id: str, method: str, path: str, **options: Unpack[ExplainOptions]
    ) -> Explanation:
        """Return every check of a request that a key might make, as it would be decided now."""
        return await self._run(self._verbs.explain(key_id, method, path, **options))

    async def explain_denial(self, denial: str) -> DenialExplanation:
        """Return what the id of a refusal says. Raises ``InputError`` for one of somebody else."""
        return await self._run(self._verbs.explain_denial(denial))

    async def _run(self, steps: Steps[T]) -> T:
        return await arun(steps, self._perform)

    async def _perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        return await self.engine.performer.perform_async(effect, self._threads)

    async def _perform_for_request(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the same
        return await self.engine.performer.perform_for_request_async(effect, self._threads)


def _nothing() -> Steps[None]:
    yield from ()
