"""From a request to an outcome, from memory alone: no I/O, no waiting."""

from __future__ import annotations

from enum import Enum
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from msgspec import Struct

from keybound.by_terms import by_terms
from keybound.caches.local import NEVER_SEEN
from keybound.clocks import read_entropy
from keybound.core.credentials import Credential, read_credential
from keybound.core.decision import Allowed, Denied
from keybound.core.effects import Moment
from keybound.core.inquiry import Inquiry, NeedBody
from keybound.core.reasons import Reason
from keybound.warm import warm_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keybound.by_terms import Permitted
    from keybound.caches.local import Entry, LocalCache
    from keybound.clocks import Clock
    from keybound.core.chain import Chain
    from keybound.core.credentials import CredentialForm
    from keybound.core.decision import Decision
    from keybound.core.head import Head
    from keybound.core.keys import KeyFormat
    from keybound.core.table import RouteTable
    from keybound.core.told import Told
    from keybound.counting import Counts
    from keybound.warm import Decisions

DECISIONS_MAX = 16_384
"""Allowed requests that are remembered while their chain is alive."""

_INDEX_BYTES = 15  # of more, Python would need 16 bytes more for each


class Unguarded(Enum):
    """The request needs no key: it passes, without an identity."""

    UNGUARDED = "unguarded"


class Miss(Struct, frozen=True):
    """The cache cannot tell; once the store was asked about the key, it can.

    It holds what was found out so far, for whoever asks, and when that was. ``repeats``: an equal
    request will be found under the same index. Only ``judge`` can go on.
    """

    index: bytes
    credential: str
    inquiry: Inquiry
    now: Moment
    repeats: bool
    judge: Judge

    def __repr__(self) -> str:
        """Return nothing of the credential."""
        return "Miss(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return nothing of it either."""
        return []


class Stranger(Struct, frozen=True):
    """No key of ours came: the site's authenticators may know who calls.

    ``otherwise`` is what becomes of the request if they do not.
    """

    inquiry: Inquiry
    otherwise: Denied | Unguarded


Settled: TypeAlias = Allowed | Denied | NeedBody | Unguarded
"""What is left when the store and the authenticators were asked."""

Outcome: TypeAlias = Settled | Miss | Stranger

UNSETTLED = frozenset({Miss, Stranger, NeedBody})
"""Outcomes with which a shell has something to do yet."""


def denial(outcome: Outcome) -> Denied:
    """Return the denial that an outcome is, or that it must be: nothing else is left of it."""
    return outcome if isinstance(outcome, Denied) else Denied(Reason.STORE_UNAVAILABLE)


def new_indexer() -> Callable[[], Any]:
    """Return what makes hashers of headers: BLAKE2s with 16 random bytes of this process as salt.

    What a cache is indexed by is neither a credential nor a digest of one that anybody else could
    make. The salt is a part of the parameter block (RFC 7693 section 2.5): unlike a key it takes no
    block of the message, and a header with a key of ours fits into one.
    """
    salt, person = read_entropy(8), read_entropy(8)
    return blake2s(digest_size=_INDEX_BYTES, salt=salt, person=person).copy


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
        report: Callable[[Denied], None],
        counts: Counts,
        strangers: bool,
    ) -> None:
        """Remember nothing yet; ``strangers``: there are authenticators for who has no key."""
        self._report = report
        self._counts = counts
        self._strangers = strangers
        self.table = table
        self._match = table.match
        self._cache = cache
        self._boot = clock.boot
        self._wall = clock.wall
        self._forms = forms
        self._starts = tuple([form.prefix for form in forms if form.prefix is not None])
        self._format = key_format
        self._new_hasher = new_hasher
        self._decisions: Decisions = {}
        self._permitted: Permitted = {}
        self.decide = warm_path(
            cache,
            self._decisions,
            clock,
            new_hasher=self._new_hasher,
            by_terms=by_terms(cache, self._permitted, clock, used=counts.used),
            judge=self._judge,
            note=counts.note,
        )

    def decide_unrouted(  # noqa: PLR0917 - as the warm path has them
        self,
        method: str,
        path: str,
        peer: str | None,
        raw: bytes | Reason | None,
        told: Told | None = None,
        head: Head | None = None,
    ) -> Outcome:
        """Decide a request whose view depends on more than method and path: no router is asked."""
        return self._judge(method, path, peer, raw, told, head, b"", routed=False)

    def _judge(  # noqa: PLR0917 - as the warm path has them; keywords cost more than the rest
        self,
        method: str,
        path: str,
        peer: str | None,
        raw: bytes | Reason | None,
        told: Told | None,
        head: Head | None,
        index: bytes,
        *,
        routed: bool = True,
    ) -> Outcome:
        """Decide what was not decided before; ``index`` is the one of ``raw``, if that was made."""
        match = self._match if routed else self.table.match_unrouted
        asks = [(method, match(method, path))]
        if told is not None:
            asks += [(other, match(other, path)) for other in told.taken_for]
        inquiry = Inquiry.of(asks, path, peer, told, head)
        if inquiry is None:
            return Denied(Reason.MISSING_CREDENTIALS if raw is None else Reason.INVALID_PATH)
        if inquiry.auth == "exempt":
            return Unguarded.UNGUARDED
        wall = self._wall()
        known = self._cache.find(index)
        if known is not None and self._cache.holds(known, self._boot(), wall):
            decision = self._decide(known, inquiry, wall, repeats=True)
            self._remember(known, inquiry, decision)
            return decision
        credential = self._read(raw)
        if not isinstance(credential, Credential):
            return self._without_key(credential, inquiry)
        if not index or credential.canonical != raw:
            index = self.index_of(credential.canonical)
            known = self._cache.find(index)
        boot = self._boot()
        if known is None or not self._cache.holds(known, boot, wall):
            repeats = routed and credential.canonical == raw
            return Miss(index, credential.token, inquiry, Moment(boot, wall), repeats, self)
        return self._decide(known, inquiry, wall, repeats=routed)

    def index_of(self, canonical: bytes) -> bytes:
        """Return what the cache has a credential under."""
        hasher = self._new_hasher()
        hasher.update(canonical)
        index: bytes = hasher.digest()
        return index

    def decide_settled(self, miss: Miss) -> Decision | NeedBody | None:
        """Decide the request of a miss once the store was asked; ``None`` if it must be again."""
        entry = self._cache.find(miss.index)
        wall = self._wall()
        if entry is None or not self._cache.holds(entry, self._boot(), wall):
            return None
        decision = self._decide(entry, miss.inquiry, wall, repeats=miss.repeats)
        if miss.repeats:
            self._remember(entry, miss.inquiry, decision)
        return decision

    def _without_key(self, reason: Reason | Denied, inquiry: Inquiry) -> Outcome:
        if isinstance(reason, Denied):
            return reason
        optional = inquiry.auth == "optional" and reason in _NO_KEY_OF_OURS
        otherwise = Unguarded.UNGUARDED if optional else Denied(reason)
        if self._strangers and reason in _NO_KEY_OF_OURS:
            return Stranger(inquiry, otherwise)
        return otherwise

    def _decide(
        self, entry: Entry, inquiry: Inquiry, now: float, *, repeats: bool
    ) -> Decision | NeedBody:
        chain = entry.chain
        if chain is None:
            return Denied(Reason.UNKNOWN_KEY)
        decide = self._decide_by_terms if repeats else self.decide_chain
        decision = decide(chain, inquiry, now)
        if isinstance(decision, Allowed) and not entry.kept:
            self._counts.used(chain.key.id, now)
        elif isinstance(decision, Allowed):
            entry.uses += 1
            entry.used_at = now
            if not entry.noted:
                self._counts.note(entry)
        elif isinstance(decision, Denied):
            entry.seen = NEVER_SEEN  # who keeps asking in vain need not be loaded anew each time
            self._counts.refused(chain.key.id, now)
        return decision

    def decide_chain(self, chain: Chain, inquiry: Inquiry, now: float) -> Decision | NeedBody:
        """Decide for whom a chain is, and report what nodes that only report would refuse."""
        decision = inquiry.decide(chain, now)
        if isinstance(decision, Allowed):
            for denied in decision.reported:
                self._report(denied)
        return decision

    def _read(self, raw: bytes | Reason | None) -> Credential | Reason | Denied:
        """Return what may be a key, or why nothing may; a denial if it was meant to be one."""
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
        if isinstance(credential, Reason) or self._format.recognises(credential.token):
            return credential
        meant = self._format.claims(credential.token)
        return Denied(Reason.MALFORMED_CREDENTIALS) if meant else Reason.MALFORMED_CREDENTIALS

    def _decide_by_terms(self, chain: Chain, inquiry: Inquiry, now: float) -> Decision | NeedBody:
        """Decide, or repeat what another key of the same terms was allowed.

        What holds for a while, and not for one key alone, depends on all of this; if the table was
        asked, as it is for whatever is remembered, what it says depends on method and path.
        """
        about = chain.terms, inquiry.asks[0][0], inquiry.path, inquiry.peer, inquiry.told
        if chain.alive and chain.begins <= now < chain.ends:
            permitted = self._permitted.get(about)
            if permitted is not None:
                return Allowed(chain.identity(permitted[0]), chain.begins, chain.ends)
        decision = self.decide_chain(chain, inquiry, now)
        if _holds(decision) and not chain.fleeting:
            if len(self._permitted) >= DECISIONS_MAX:
                self._permitted.clear()
            self._permitted[about] = (decision.identity.request_tenant,)
        return decision

    def _remember(self, entry: Entry, inquiry: Inquiry, decision: Decision | NeedBody) -> None:
        if not (entry.kept and _holds(decision)):
            return
        (method, _), path = inquiry.asks[0], inquiry.path
        if len(self._decisions) >= DECISIONS_MAX:
            self._decisions.clear()
        at = entry.index, method, path, inquiry.peer, inquiry.told
        self._decisions[at] = entry, decision


def _holds(decision: Decision | NeedBody) -> TypeGuard[Allowed]:
    """Return whether the same request is allowed for a while."""
    return isinstance(decision, Allowed) and decision.begins < decision.ends


_NO_KEY_OF_OURS = frozenset({Reason.MISSING_CREDENTIALS, Reason.MALFORMED_CREDENTIALS})
"""These are left to the site's own authentication: by authenticators, and on optional routes."""
