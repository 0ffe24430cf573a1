"""A request once the route table was asked: what is left to be known is who calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from keybound.core.bodies import BodyFields
from keybound.core.clients import PEER_REMEMBERED_MAX
from keybound.core.decision import Allowed, Denied, again, both, decide
from keybound.core.facts import RequestFacts, own_tenant, pack_address
from keybound.core.head import Head
from keybound.core.models_of import called
from keybound.core.reasons import Reason
from keybound.core.table import METHOD_REMEMBERED_MAX, PATH_REMEMBERED_MAX, RouteMatch
from keybound.core.told import PLAIN, PREFLIGHT, UNSAID, Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.core.chain import Chain
    from keybound.core.decision import Decision
    from keybound.core.routes import Auth

_STRICTEST_FIRST: tuple[Auth, ...] = ("required", "optional", "exempt")


class NeedBody(Struct, frozen=True):
    """Everything but the model is permitted, and that is in the body: read it and ask again."""

    fields: BodyFields


class Inquiry(Struct, frozen=True):
    """What is decided about a request.

    ``asks`` are its method, then those that it asks to be taken for, each with what the table says.
    """

    asks: tuple[tuple[str, RouteMatch], ...]
    path: str
    peer: str | None
    told: Told | None
    head: Head | None

    def __repr__(self) -> str:
        """Return nothing: whoever reports an error shows what the frames of a traceback hold."""
        return "Inquiry(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return nothing either."""
        return []

    @classmethod
    def of(
        cls,
        asks: Sequence[tuple[str, RouteMatch | None]],
        path: str,
        peer: str | None,
        told: Told | None,
        head: Head | None,
    ) -> Inquiry | None:
        """Return what is decided, ``None`` where the table knows no such path."""
        known = tuple([(method, match) for method, match in asks if match is not None])
        return cls(known, path, peer, told, head) if len(known) == len(asks) else None

    @property
    def auth(self) -> Auth:
        """How it is guarded: as the strictest of what it asks for.

        A preflight asks for itself alone: what something within made of it, or would, is none.
        """
        if len(self.asks) == 1:
            method, match = self.asks[0]
            preflight = self.told is not None and self.told.preflight and method == PREFLIGHT
            return "exempt" if preflight else match.auth
        asked = {match.auth for _, match in self.asks}
        return next(auth for auth in _STRICTEST_FIRST if auth in asked)

    @property
    def repeats(self) -> bool:
        """Whether an equal request is about the same, and short enough to be remembered."""
        if len(self.path) > PATH_REMEMBERED_MAX or len(self.asks[0][0]) > METHOD_REMEMBERED_MAX:
            return False
        if len(self.peer or "") > PEER_REMEMBERED_MAX:
            return False
        if self.told is not None and self.told.body is not None:  # it has room for many models
            return False
        return not any(match.models_by for _, match in self.asks)

    def decide(self, chain: Chain, now: float) -> Decision | NeedBody:
        """Return whether a chain permits all of it at ``now`` (POSIX seconds)."""
        address = pack_address(self.peer)
        decision: Decision | None = None
        for method, match in self.asks:
            found = self._decide_as(method, match, address, chain, now)
            if isinstance(found, NeedBody):
                return found
            decision = found if decision is None else both(decision, found)
            if isinstance(decision, Denied):
                break
        if isinstance(decision, Allowed) and not self.repeats:
            return again(decision, now)
        return decision or Denied(Reason.INVALID_PATH)

    def _decide_as(
        self, method: str, match: RouteMatch, address: int | None, chain: Chain, now: float
    ) -> Decision | NeedBody:
        told = self.told or PLAIN
        tenant = _tenant(match, told, chain)
        named, unread = self._models(match, told)
        decision: Decision | None = None
        for model in named or (None,):
            facts = RequestFacts(
                method=method,
                path=self.path,
                address=address,
                tenant=tenant,
                model=model,
                access=match.access,
                scopes=match.scopes,
                in_header=told.in_header,
            )
            found = decide(chain, facts, now)
            decision = found if decision is None else both(decision, found)
            if isinstance(decision, Denied):
                break
        assert decision is not None  # noqa: S101 - there is one for each model, or for none
        if unread is None or not chain.limited_in_models:
            return decision
        if isinstance(decision, Allowed) or (
            not named and decision.reason is Reason.MODEL_UNRESOLVED
        ):
            return NeedBody(unread)
        return decision

    def _models(
        self, match: RouteMatch, told: Told
    ) -> tuple[tuple[str | None, ...], BodyFields | None]:
        """Return the models that a request names, and what of its body must be read to know all."""
        named: list[str | None] = []
        if match.names_model:
            named.append(None if told.crooked and match.model_in_path else match.model)
        for call in match.models_by:
            named.extend(called(call, self.head) or (None,))
        if match.body is None:
            return tuple(named), None
        if told.body is None:
            return tuple(named), match.body
        found = told.body.models if told.body.fields == match.body else None
        return (*named, *(found or (None,))), None


def _tenant(match: RouteMatch, told: Told, chain: Chain) -> str | None:
    """Return the tenant that a request is about: none where two that it names differ.

    What the route says and cannot be told is not made up for by what else is said.
    """
    if match.tenant_in_path and (told.crooked or match.tenant is None):
        return None
    said = None if told.tenant is UNSAID else own_tenant(told.tenant, chain.home)
    if match.tenant is None:
        return said
    tenant = own_tenant(match.tenant, chain.home)
    return tenant if said is None or said == tenant else None
