"""What one process keeps: settings compiled, a store, a cache, and the plain call that decides."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from keybound.caches.local import LocalCache
from keybound.clocks import read_entropy
from keybound.core.chain import ChainPolicy
from keybound.core.coherence import Worker, look_up, sync
from keybound.core.credentials import parse_forms
from keybound.core.decision import Denied
from keybound.core.effects import Moment, ReadClock, ReadEntropy, Sleep
from keybound.core.errors import InputError, KeyboundError, RecordCorruptError
from keybound.core.keys import Peppers, derive
from keybound.core.lifecycle import Site
from keybound.core.opening import open_store
from keybound.core.reasons import Reason
from keybound.core.refusals import Refusals
from keybound.core.routes import RouteTable
from keybound.core.sealing import NONCE_BYTES, SEALING_KEY_BYTES, Sealer
from keybound.core.secret import Secret
from keybound.drivers import run
from keybound.judge import INDEX_KEY_BYTES, Judge
from keybound.settings import HOW_TO_MAKE_ONE
from keybound.syncing import Syncer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keybound.clocks import Clock
    from keybound.core.effects import Effect, Steps
    from keybound.core.refusals import RefusalResponse
    from keybound.core.routes import Route
    from keybound.core.sealing import SealedDenial
    from keybound.judge import Miss
    from keybound.settings import Settings
    from keybound.stores import Store

T = TypeVar("T")

logger = logging.getLogger("keybound")
denials = logging.getLogger("keybound.denials")


class Engine:
    """Shared by the blocking and the awaiting guard of a process; safe for threads."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, *, background: bool = True
    ) -> None:
        """Compile the settings. Nothing is read and nothing is started yet.

        Without ``background``, requests themselves sync when the lease is out, and nothing else.
        """
        self.settings = settings
        self.store = store
        self.clock = clock
        self.peppers = Peppers(settings.secret, settings.retired_secrets)
        self.format = settings.key_format()
        forms = parse_forms(settings.credentials)
        self._refusals = Refusals(forms, realm=settings.realm, reveal_reason=settings.reveal_reason)
        secrets = [s for s in (settings.secret, *settings.retired_secrets) if s is not None]
        self._sealers = [Sealer(derive(secret, b"seal")) for secret in secrets]
        if settings.secret is None:  # until the store's own random id is known
            self._sealers.insert(0, Sealer(read_entropy(SEALING_KEY_BYTES)))
        self._open = False
        self._declared: WeakKeyDictionary[object, tuple[Route, ...]] = WeakKeyDictionary()
        self.cache = LocalCache(
            bound=settings.revoke_within,
            grace=settings.stale_grace,
            size_max=settings.cache_size_max,
        )
        self._judge = Judge(
            self.cache,
            RouteTable(settings.routes, protect=settings.protect),
            clock,
            forms=forms,
            key_format=self.format,
            index_key=read_entropy(INDEX_KEY_BYTES),
        )
        self.decide = self._judge.decide
        self._apply_policy()
        self._syncer = Syncer(self._sync, interval=settings.sync_every) if background else None

    @property
    def table(self) -> RouteTable:
        """The route table in force."""
        return self._judge.table

    def use_routes(self, routes: Iterable[Route]) -> None:
        """Compile the route table anew; what was decided under the old one is forgotten."""
        self._judge.table = RouteTable(tuple(routes), protect=self.settings.protect)
        self._apply_policy()
        self._judge.forget()

    def declare_routes(self, application: object, routes: Iterable[Route]) -> None:
        """Let what an application's router says join the table, after the configured routes."""
        self._declared[application] = tuple(routes)
        self.use_routes(chain(self.settings.routes, *self._declared.values()))

    def _apply_policy(self) -> None:
        settings = self.settings
        policy = ChainPolicy(tenancy=self.table.tenancy, wildcard_scopes=settings.wildcard_scopes)
        self.worker = Worker(
            cache=self.cache,
            policy=policy,
            bound=settings.revoke_within,
            grace=settings.stale_grace,
        )
        self.site = Site(
            format=self.format,
            peppers=self.peppers,
            policy=policy,
            settle_for=settings.revoke_within + settings.stale_grace,
            raise_floors=self.cache.raise_floors,
        )

    def settle(self, miss: Miss) -> Steps[None]:
        """Ask the store about a key, so that ``decide`` can answer. Raises ``StoreError``."""
        digests = self.peppers.candidates(miss.credential)
        worker = self.worker
        yield from self.opened(look_up(worker, miss.index, digests))
        if self.worker is not worker:  # the routes changed, and with them what chains mean
            self._judge.forget()

    def opened(self, steps: Steps[T]) -> Steps[T]:
        """Run a procedure on a store that was checked once, with syncs going on from then.

        Raises ``StoreError`` and ``SettingsError`` besides what the procedure raises.
        """
        if not self._open:
            installation = yield from open_store(self.peppers)
            if self.settings.secret is None:
                # The random one goes on opening the ids of denials before this.
                self._sealers.insert(0, Sealer(derive(Secret(installation.id.hex()), b"seal")))
            self._open = True
            _announce(self.settings, self.store.location)
        if self._syncer is not None:
            self._syncer.start()
        return (yield from steps)

    def perform(self, effect: Effect[Any]) -> Any:  # noqa: ANN401 - the effect says what
        """Answer one effect, blocking."""
        local = self.local(effect)
        if local is not None:
            return local
        if isinstance(effect, Sleep):
            return self.clock.sleep(effect.seconds)
        return self.store.perform(effect)

    def local(self, effect: Effect[Any]) -> Moment | bytes | None:
        """Answer an effect that needs no waiting, or ``None``."""
        if isinstance(effect, ReadClock):
            return Moment(self.clock.boot(), self.clock.wall())
        if isinstance(effect, ReadEntropy):
            return read_entropy(effect.size)
        return None

    def failed(self, error: Exception) -> Denied:
        """Return the denial that a failure is, having told the operator."""
        known = isinstance(error, KeyboundError)
        # The text of a foreign error may hold anything; its type does not.
        logger.error("cannot decide: %s", error if known else type(error).__qualname__)
        corrupt = isinstance(error, RecordCorruptError)
        return Denied(Reason.RECORD_CORRUPT if corrupt else Reason.STORE_UNAVAILABLE)

    def refuse(self, denied: Denied) -> RefusalResponse:
        """Return the answer to a denied request, and log the id that ``explain`` opens."""
        nonce = read_entropy(NONCE_BYTES)
        denial = self._sealers[0].seal(denied, at=self.clock.wall(), nonce=nonce)
        check = denied.check
        denials.info(
            "refused reason=%s key=%s node=%s limit=%s id=%s",
            denied.reason.value,
            denied.key,
            check.node if check else None,
            check.clause.dimension if check else None,
            denial,
        )
        return self._refusals.render(denied, denial)

    def unseal(self, denial: str) -> SealedDenial:
        """Return what the id of a denial says; raises ``InputError`` for one of somebody else."""
        for sealer in self._sealers[1:]:
            with suppress(InputError):
                return sealer.open(denial)
        return self._sealers[0].open(denial)

    def close(self) -> None:
        """Stop syncing and let the store go; the next use opens it again."""
        if self._syncer is not None:
            self._syncer.stop()
        self.store.close()

    def _sync(self) -> None:
        run(sync(self.worker), self.perform)


def _announce(settings: Settings, location: str) -> None:
    """Say where the keys are; louder where nobody chose the place or the protection."""
    if settings.secret is None and "://" not in location:
        logger.warning(
            "no secret is set: keys in %s are stored as plain SHA-256; set KEYBOUND_SECRET, %s",
            location,
            HOW_TO_MAKE_ONE,
        )
    else:
        logger.info("keys are in %s", location)
