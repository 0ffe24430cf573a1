"""From a request to an outcome, from memory alone: no I/O, no waiting."""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from keybound.clocks import read_entropy
from keybound.core.credentials import Credential, read_credential
from keybound.core.decision import Allowed, Denied, decide
from keybound.core.effects import Moment
from keybound.core.facts import RequestFacts, own_tenant, pack_address
from keybound.core.reasons import Reason
from keybound.core.table import METHOD_REMEMBERED_MAX, PATH_REMEMBERED_MAX, RouteMatch
from keybound.warm import warm_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.caches.local import Entry, LocalCache
    from keybound.clocks import Clock
    from keybound.core.credentials import CredentialForm
    from keybound.core.decision import Decision
    from keybound.core.keys import KeyFormat
    from keybound.core.table import RouteTable
    from keybound.warm import Decisions

DECISIONS_MAX = 16_384
"""Allowed requests that are remembered while their chain is alive."""

_INDEX_BYTES = 16
_INDEX_KEY_BYTES = 32


class Unguarded(Enum):
    """The request needs no key: it passes, without an identity."""

    UNGUARDED = "unguarded"


class Miss(Struct, frozen=True):
    """The cache cannot tell; once the store was asked about the key, it can.

    It holds what was found out so far, for whoever asks: what the table says, and when that was.
    ``repeats``: an equal request will be found under the same index. Only ``judge`` can go on.
    """

    index: bytes
    credential: str
    match: RouteMatch
    now: Moment
    repeats: bool
    judge: Judge

    def __repr__(self) -> str:
        """Return nothing of the credential."""
        return "Miss(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return nothing of it either."""
        return []


Outcome: TypeAlias = Allowed | Denied | Miss | Unguarded


def denial(outcome: Outcome) -> Denied:
    """Return the denial that an outcome is, or that it must be: nothing else is left of it."""
    return outcome if isinstance(outcome, Denied) else Denied(Reason.STORE_UNAVAILABLE)


def new_indexer() -> Callable[[], Any]:
    """Return what makes hashers of headers: BLAKE2b under a random key of this process.

    What a cache is indexed by is neither a credential nor a digest of one.
    """
    return blake2b(digest_size=_INDEX_BYTES, key=read_entropy(_INDEX_KEY_BYTES)).copy


class Judge:
    """Decides requests under one table over one cache; safe for threads.

    Whoever shares the cache shares ``new_hasher``, which makes its indexes.
    """

    def __init__(
        self,
        cache: LocalCache,
        table: RouteTable,
        clock: Clock,
        *,
        new_hasher: Callable[[], Any],
        forms: Sequence[CredentialForm],
        key_format: KeyFormat,
    ) -> None:
        """Remember nothing yet."""
        self.table = table
        self._match = table.match
        self._cache = cache
        self._boot = clock.boot
        self._wall = clock.wall
        self._forms = forms
        self._starts = tuple([form.write("") for form in forms])
        self._format = key_format
        self._new_hasher = new_hasher
        self._decisions: Decisions = {}
        self.decide = warm_path(
            cache, self._decisions, clock, new_hasher=self._new_hasher, judge=self._judge
        )

    def decide_unrouted(
        self, method: str, path: str, peer: str | None, raw: bytes | Reason | None
    ) -> Outcome:
        """Decide a request whose view depends on more than method and path: no router is asked."""
        return self._judge(method, path, peer, raw, b"", None, routed=False)

    def _judge(  # noqa: PLR0917 - as the warm path has them; keywords cost more than the rest
        self,
        method: str,
        path: str,
        peer: str | None,
        raw: bytes | Reason | None,
        index: bytes,
        known: Entry | None,
        *,
        routed: bool = True,
    ) -> Outcome:
        """Decide what was not decided before.

        ``index`` is the one of ``raw``, if that was asked for, and ``known`` what was found there.
        """
        match = (self._match if routed else self.table.match_unrouted)(method, path)
        if match is None:
            return Denied(Reason.INVALID_PATH)
        if match.auth == "exempt":
            return Unguarded.UNGUARDED
        wall = self._wall()
        if known is not None and self._cache.holds(known, self._boot(), wall):
            decision = _decide(known, match, method, path, peer, wall)
            self._remember(known, method, path, peer, decision)
            return decision
        credential = self._read(raw)
        if isinstance(credential, Reason):
            optional = match.auth == "optional" and credential in _NO_KEY_OF_OURS
            return Unguarded.UNGUARDED if optional else Denied(credential)
        if not index or credential.canonical != raw:
            hasher = self._new_hasher()
            hasher.update(credential.canonical)
            index = hasher.digest()
        entry = self._cache.entries.get(index) or self._cache.absent.get(index)
        boot = self._boot()
        if entry is None or not self._cache.holds(entry, boot, wall):
            repeats = routed and credential.canonical == raw
            return Miss(index, credential.token, match, Moment(boot, wall), repeats, self)
        return _decide(entry, match, method, path, peer, wall)

    def decide_settled(
        self, miss: Miss, method: str, path: str, peer: str | None
    ) -> Decision | None:
        """Decide the request of a miss once the store was asked; ``None`` if it must be again."""
        entry = self._cache.entries.get(miss.index) or self._cache.absent.get(miss.index)
        wall = self._wall()
        if entry is None or not self._cache.holds(entry, self._boot(), wall):
            return None
        decision = _decide(entry, miss.match, method, path, peer, wall)
        if miss.repeats:
            self._remember(entry, method, path, peer, decision)
        return decision

    def _read(self, raw: bytes | Reason | None) -> Credential | Reason:
        if raw is None:
            return Reason.MISSING_CREDENTIALS
        if isinstance(raw, Reason):
            return raw
        for start in self._starts:
            if raw.startswith(start):  # as clients write it: what is a key after that needs no more
                token = raw[len(start) :].decode("latin-1")
                if self._format.recognises(token):
                    return Credential(token, raw)
        credential = read_credential(raw, self._forms)
        if isinstance(credential, Credential) and not self._format.recognises(credential.token):
            return Reason.MALFORMED_CREDENTIALS
        return credential

    def _remember(
        self, entry: Entry, method: str, path: str, peer: str | None, decision: Decision
    ) -> None:
        if not isinstance(decision, Allowed) or decision.begins >= decision.ends:
            return
        if len(path) > PATH_REMEMBERED_MAX or len(method) > METHOD_REMEMBERED_MAX:
            return
        if len(self._decisions) >= DECISIONS_MAX:
            self._decisions.clear()
        self._decisions[entry, method, path, peer] = decision


_NO_KEY_OF_OURS = frozenset({Reason.MISSING_CREDENTIALS, Reason.MALFORMED_CREDENTIALS})
"""On an optional route these are left to the site's own authentication."""


def _decide(  # noqa: PLR0917 - the same
    entry: Entry, match: RouteMatch, method: str, path: str, peer: str | None, now: float
) -> Decision:
    chain = entry.chain
    if chain is None:
        return Denied(Reason.UNKNOWN_KEY)
    entry.used = True
    facts = RequestFacts(
        method=method,
        path=path,
        address=pack_address(peer),
        tenant=own_tenant(match.tenant, chain.home),
        model=match.model,
        access=match.access,
        scopes=match.scopes,
    )
    return decide(chain, facts, now)
