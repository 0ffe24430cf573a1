"""What one process keeps: settings compiled, a store, a cache, and the plain call that decides."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from keybound.caches.local import LocalCache
from keybound.clocks import read_entropy
from keybound.core.chain import ChainPolicy
from keybound.core.coherence import Worker, look_up, sync
from keybound.core.credentials import parse_forms, read_credential
from keybound.core.decision import Allowed, Denied, decide
from keybound.core.effects import Moment, ReadClock, ReadEntropy, Sleep
from keybound.core.errors import InputError, KeyboundError, RecordCorruptError
from keybound.core.facts import OWN_TENANT, RequestFacts, pack_address
from keybound.core.keys import Peppers, derive
from keybound.core.lifecycle import Site
from keybound.core.opening import open_store
from keybound.core.reasons import Reason
from keybound.core.refusals import Refusals
from keybound.core.routes import RouteTable
from keybound.core.secret import Secret
from keybound.core.sealing import NONCE_BYTES, SEALING_KEY_BYTES, Sealer
from keybound.drivers import run
from keybound.settings import SECRET_FIX
from keybound.syncing import Syncer
from keybound.warm import warm_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keybound.clocks import Clock
    from keybound.core.effects import Effect, Steps
    from keybound.core.refusals import RefusalResponse
    from keybound.core.routes import Route, RouteMatch
    from keybound.core.sealing import SealedDenial
    from keybound.settings import Settings
    from keybound.stores import Store
    from keybound.warm import Decisions

DECISIONS_MAX = 16_384
"""Allowed requests that are remembered while their chain is alive."""

_INDEX_BYTES = 16

T = TypeVar("T")

logger = logging.getLogger("keybound")
denials = logging.getLogger("keybound.denials")


class Unguarded(Enum):
    """The request is nobody's business here: it passes, without an identity."""

    UNGUARDED = "unguarded"


@dataclass(frozen=True, slots=True)
class Miss:
    """The cache cannot tell; ``Engine.settle`` asks the store, then ``decide`` can."""

    index: bytes
    credential: str

    def __repr__(self) -> str:
        """Return nothing of the credential."""
        return "Miss(...)"


Outcome = Allowed | Denied | Miss | Unguarded


class Engine:
    """Shared by the blocking and the awaiting guard of a process; safe for threads."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        """Compile the settings. Nothing is read and nothing is started yet."""
        self.settings = settings
        self.store = store
        self.clock = clock
        self.peppers = Peppers(settings.secret, settings.retired_secrets)
        self.format = settings.key_format()
        self._forms = parse_forms(settings.credentials)
        self._refusals = Refusals(
            self._forms, realm=settings.realm, reveal_reason=settings.reveal_reason
        )
        secrets = [s for s in (settings.secret, *settings.retired_secrets) if s is not None]
        self._sealers = [Sealer(derive(secret, b"seal")) for secret in secrets]
        if settings.secret is None:  # until the store's own random id is known
            self._sealers.insert(0, Sealer(read_entropy(SEALING_KEY_BYTES)))
        self._open = False
        self._new_hasher = blake2b(digest_size=_INDEX_BYTES, key=read_entropy(32)).copy
        self._boot = clock.boot
        self._wall = clock.wall
        self.cache = LocalCache(
            bound=settings.revoke_within,
            grace=settings.stale_grace,
            size_max=settings.cache_size_max,
        )
        self._decisions: Decisions = {}
        self.decide = warm_path(
            self.cache, self._decisions, clock, new_hasher=self._new_hasher, judge=self._judge
        )
        self.use_routes(settings.routes)
        self._syncer = Syncer(self._sync, interval=settings.sync_every)

    def use_routes(self, routes: Iterable[Route]) -> None:
        """Compile the route table anew; what was decided under the old one is forgotten."""
        self.table = RouteTable(tuple(routes), protect=self.settings.protect)
        policy = ChainPolicy(
            tenancy=self.table.tenancy, wildcard_scopes=self.settings.wildcard_scopes
        )
        self.worker = Worker(
            cache=self.cache,
            policy=policy,
            bound=self.settings.revoke_within,
            grace=self.settings.stale_grace,
        )
        self.site = Site(
            format=self.format,
            peppers=self.peppers,
            policy=policy,
            settle_for=self.settings.revoke_within + self.settings.stale_grace,
            raise_floors=self.cache.raise_floors,
        )
        self.cache.forget()
        self._decisions.clear()

    def _judge(
        self, method: str, path: str, peer: str | None, raw: bytes | Reason | None
    ) -> Outcome:
        """Decide from memory alone what was not decided before."""
        match = self.table.match(method, path)
        if match is None:
            return Denied(Reason.INVALID_PATH)
        if match.auth == "exempt":
            return Unguarded.UNGUARDED
        credential = raw if isinstance(raw, Reason) else read_credential(raw, self._forms)
        if isinstance(credential, Reason):
            return _unread(credential, match)
        if not self.format.recognises(credential.token):
            return _unread(Reason.MALFORMED_CREDENTIALS, match)
        index = self._index(credential.canonical)
        entry = self.cache.entries.get(index) or self.cache.absent.get(index)
        wall = self._wall()
        if entry is None or not self.cache.holds(entry, self._boot(), wall):
            return Miss(index, credential.token)
        chain = entry.chain
        if chain is None:
            return Denied(Reason.UNKNOWN_KEY)
        entry.used = True
        facts = RequestFacts(
            method=method,
            path=path,
            address=pack_address(peer),
            tenant=chain.home if match.tenant == OWN_TENANT else match.tenant,
            model=match.model,
            access=match.access,
            scopes=match.scopes,
        )
        decision = decide(chain, facts, wall)
        if decision.__class__ is Allowed and raw == credential.canonical and len(path) <= 256:
            if len(self._decisions) >= DECISIONS_MAX:
                self._decisions.clear()
            self._decisions[entry, method, path, peer] = decision
        return decision

    def settle(self, miss: Miss) -> Steps[None]:
        """Ask the store about a key, so that ``decide`` can answer. Raises ``StoreError``."""
        digests = self.peppers.candidates(miss.credential)
        return self.opened(look_up(self.worker, miss.index, digests))

    def opened(self, steps: Steps[T]) -> Steps[T]:
        """Run a procedure on a store that was checked once, with syncs going on from then.

        Raises ``StoreError`` and ``SettingsError`` besides what the procedure raises.
        """
        if not self._open:
            installation = yield from open_store(self.peppers)
            if self.settings.secret is None:
                self._sealers[0] = Sealer(derive(Secret(installation.id.hex()), b"seal"))
            self._open = True
            _announce(self.settings, self.store.location)
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
            return Moment(self._boot(), self._wall())
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
        denial = self._sealers[0].seal(denied, at=self._wall(), nonce=nonce)
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
        self._syncer.stop()
        self.store.close()

    def _index(self, canonical: bytes) -> bytes:
        hasher = self._new_hasher()
        hasher.update(canonical)
        return hasher.digest()

    def _sync(self) -> None:
        run(sync(self.worker), self.perform)


def _unread(reason: Reason, match: RouteMatch) -> Outcome:
    """On an optional route, what is no key of ours is left to the site's own authentication."""
    optional = {Reason.MISSING_CREDENTIALS, Reason.MALFORMED_CREDENTIALS}
    if match.auth == "optional" and reason in optional:
        return Unguarded.UNGUARDED
    return Denied(reason)


def _announce(settings: Settings, location: str) -> None:
    """Say where the keys are; louder where nobody chose the place or the protection."""
    if settings.secret is None:
        logger.warning(
            "no secret is set: keys in %s are stored as plain SHA-256; set KEYBOUND_SECRET, %s",
            location,
            SECRET_FIX,
        )
    else:
        logger.info("keys are in %s", location)
