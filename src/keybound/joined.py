"""Changes within a transaction of the application's own: committed with it, or not at all."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from keybound.blocking import BlockingVerbs
from keybound.core.effects import HostCommit, ListNodes, LoadNode
from keybound.core.errors import InputError, KeyboundError
from keybound.core.lifecycle import settle
from keybound.drivers import run
from keybound.threads import begin
from keybound.verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from keybound.core.effects import Effect, Steps
    from keybound.core.lifecycle import Receipt
    from keybound.engine import Engine
    from keybound.stores.hosting import Host, HostedStore

logger = logging.getLogger("keybound")

T = TypeVar("T")


class Joined(BlockingVerbs):
    """The verbs of a guard, within a transaction of the host: for the thread that has it.

    What they change holds from the host's commit on, and a receipt then says by when everywhere:
    those that the verbs return have no revision and no such moment.
    """

    def __init__(self, engine: Engine, host: Host, store: HostedStore) -> None:
        """Work for one engine; ``Guard.joining`` is the way to one."""
        self.receipts: tuple[Receipt, ...] = ()
        """One for each node that was changed, as it is stored after the host's commit."""
        self._verbs = Verbs(engine, joins=self._note)
        self._engine = engine
        self._host = host
        self._store: HostedStore | None = store
        self._names: list[str] = []
        self._before: dict[str, int] = {}

    def end(self) -> None:
        """Take no further changes; those that were made are stamped once they are committed."""
        self._store = None

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, self._perform)

    def _perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        if self._store is None:
            raise InputError("joined", "is over", fix="use it in the block of its `with`")
        if effect.__class__ not in _WITHIN:
            return self._engine.perform(effect)
        if isinstance(effect, HostCommit):
            seen = {put.node.id: put.expected for put in effect.commit.puts}
            # Below zero it is a change of this very transaction.
            self._before |= {name: rev for name, rev in seen.items() if rev is not None and rev > 0}
        return self._store.perform(effect)

    def _note(self, names: Iterable[str]) -> None:
        self._names += names
        # Every time: the host forgets what it was told in a savepoint which it goes back to.
        self._host.after_commit(self._committed)

    def _committed(self) -> None:
        names, before = self._names, self._before
        self._names, self._before = [], {}
        if not names:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._settle(names, before)
        else:  # others run in this thread, and must not wait for the store
            if begin(self._settle, names, before, name="keybound-stamp") is None:
                logger.warning(_LEFT, "there is no thread to be had for it")

    def _settle(self, names: Iterable[str], before: Mapping[str, int]) -> None:
        try:
            settled = run(settle(self._engine.site, names), self._engine.perform)
        except KeyboundError as error:  # the host has committed, and is not to be told otherwise
            logger.warning(_LEFT, error)
        else:  # without what a savepoint took back: that is of the revision of before
            self.receipts += tuple(each for each in settled if each.rev != before.get(each.node.id))


_LEFT = "the next sync has to stamp what was committed: %s"

_WITHIN = frozenset({HostCommit, ListNodes, LoadNode})
"""What is asked of the store as the host sees it: all that a verb asks of one."""


@runtime_checkable
class _Hosted(Protocol):
    def within(self, host: Host) -> HostedStore: ...


@contextmanager
def join(engine: Engine, given: object) -> Generator[Joined]:
    """Yield the verbs within the transaction of a host, which may be a session or a connection."""
    if not isinstance(engine.store, _Hosted):
        problem = f"{engine.store.location} is in no database that has transactions of others"
        raise InputError("database", problem, fix="name the database of the application")
    from keybound.stores.sqlalchemy_hosts import host_of

    host = host_of(given)
    run(engine.opened(_nothing()), engine.perform)  # with our own connections, if it was not yet
    store = engine.store.within(host)
    store.check()
    joined = Joined(engine, host, store)
    try:
        yield joined
    finally:
        joined.end()


def _nothing() -> Steps[None]:
    yield from ()
