"""The verbs of a guard as procedures: what people give is read here, once for both guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Unpack, cast, get_args

import msgspec

from keybound.core import edits, issuing, lifecycle
from keybound.core.chain import Chain
from keybound.core.durations import parse_duration
from keybound.core.effects import ListNodes, ReadClock, ask
from keybound.core.errors import InputError, NotFoundError, nearest
from keybound.core.explain import (
    MEANINGS,
    DenialExplanation,
    Explanation,
    explain,
    explain_check,
)
from keybound.core.facts import RequestFacts, own_tenant, pack_address
from keybound.core.issuing import NewKey
from keybound.core.limits import Limits
from keybound.core.nodes import APIKey, StoredNode
from keybound.core.usage import UncountedError, Usage, list_unused, read_usage
from keybound.options import (
    ChangeOptions,
    ExplainOptions,
    GroupOptions,
    IssueOptions,
    ListOptions,
    SentIn,
    UpdateOptions,
    check_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keybound.core.edits import Edit
    from keybound.core.effects import Loaded, Steps
    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt, Site
    from keybound.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A stored node with its last revision, and the ids of everything above it.

    ``usage`` is of a key, in a store that keeps how keys are used.
    """

    node: StoredNode
    rev: int
    above: tuple[str, ...]
    usage: Usage | None = None


class Verbs:
    """One method for each verb; each returns the procedure that does it on an opened store."""

    def __init__(
        self, engine: Engine, *, joins: Callable[[Iterable[str]], None] | None = None
    ) -> None:
        """Work for one engine; within the transaction of a host, ``joins`` takes what changes."""
        self._engine = engine
        self._joins = joins

    @property
    def _site(self) -> Site:
        site = self._engine.site
        return site if self._joins is None else replace(site, joins=self._joins)

    def issue(self, **options: Unpack[IssueOptions]) -> Steps[IssuedKey]:
        """Make a key."""
        check_options(IssueOptions, options, needed="name")
        asked = NewKey(
            name=options["name"],
            tenant=options.get("tenant"),
            owner=options.get("owner"),
            role=options.get("role"),
            limits=_limits(options.get("limits")),
            expires_for=_expiry(options.get("expires_in")),
            parent=options.get("parent"),
            groups=_texts("groups", options.get("groups", ())),
            rights=_texts("rights", options.get("rights", ())),
            metadata=options.get("metadata", {}),
        )
        return self._engine.opened(issuing.issue(self._site, asked))

    def create_group(self, **options: Unpack[GroupOptions]) -> Steps[Receipt]:
        """Make a group."""
        check_options(GroupOptions, options, needed="name")
        steps = issuing.create_group(
            self._site,
            name=options["name"],
            tenant=options.get("tenant"),
            limits=_limits(options.get("limits")),
            metadata=options.get("metadata", {}),
            rights=_texts("rights", options.get("rights", ())),
        )
        return self._engine.opened(steps)

    def show(self, node_id: str) -> Steps[Shown]:
        """Read a node."""

        def steps() -> Steps[Shown]:
            loaded = yield from lifecycle.show(node_id)
            row = loaded.rows[node_id]
            assert row is not None  # noqa: S101 - show raises otherwise
            above = tuple(name for name in loaded.rows if name != node_id)
            usage = (yield from _usage([node_id])) if isinstance(row.node, APIKey) else {}
            return Shown(node=row.node, rev=row.rev, above=above, usage=usage.get(node_id))

        return self._engine.opened(steps())

    def usage(self, key_ids: Sequence[str]) -> Steps[dict[str, Usage]]:
        """Read how keys are used."""
        return self._engine.opened(_usage(_texts("key_ids", key_ids)))

    def list(self, **options: Unpack[ListOptions]) -> Steps[tuple[StoredNode, ...]]:
        """Read nodes of one kind, in order of ids."""
        check_options(ListOptions, options)
        limit: object = options.get("limit", 100)
        if not isinstance(limit, int) or not 1 <= limit <= LIST_MAX:
            raise InputError("limit", f"is {limit!r}", fix=f"1 to {LIST_MAX}")
        kind = options.get("kind", "key")
        if kind not in _KINDS:
            raise InputError("kind", f"{kind!r} is unknown", fix=nearest(kind, _KINDS))
        effect = ListNodes(
            kind=kind,
            tenant=options.get("tenant"),
            parent=options.get("parent"),
            after=options.get("after", ""),
            limit=limit,
        )
        unused_for = _duration("unused_for", options.get("unused_for"))
        if unused_for is not None and kind != "key":
            raise InputError("unused_for", f"is not about a {kind}", fix="leave it out")

        def steps() -> Steps[tuple[StoredNode, ...]]:
            if unused_for is None:
                rows = yield from ask(effect)
            else:
                rows = yield from list_unused(effect, unused_for)
            return tuple(row.node for row in rows)

        return self._engine.opened(steps())

    def restrict(
        self, node_id: str, limits: Limits | Mapping[str, object], **options: Unpack[ChangeOptions]
    ) -> Steps[Receipt]:
        """Narrow a node."""
        edit = edits.restriction(_limits(limits), self._site.policy)
        return self._edit(node_id, edit, options)

    def update(self, node_id: str, **options: Unpack[UpdateOptions]) -> Steps[Receipt]:
        """Change members and limits of a node."""
        check_options(UpdateOptions, options)
        members = {name: options[name] for name in _MEMBERS if name in options}  # type: ignore[literal-required]
        edit = edits.amendment(
            members,
            _changes(options.get("limits")),
            expires_for=_expiry(options.get("expires_in")),
            rights=_texts("rights", options["rights"]) if "rights" in options else None,
        )
        change: ChangeOptions = {name: options[name] for name in _CHANGE if name in options}  # type: ignore[assignment,literal-required]
        return self._edit(node_id, edit, change)

    def enable(self, node_id: str, **options: Unpack[ChangeOptions]) -> Steps[Receipt]:
        """Let a disabled node live again."""
        return self._edit(node_id, edits.activation(enabled=True), options)

    def disable(self, node_id: str, **options: Unpack[ChangeOptions]) -> Steps[Receipt]:
        """Suspend a node."""
        return self._edit(node_id, edits.activation(enabled=False), options)

    def revoke(self, node_id: str, **options: Unpack[ChangeOptions]) -> Steps[Receipt]:
        """End a node for ever."""
        return self._edit(node_id, edits.revocation(), options)

    def explain(
        self, key_id: str, method: str, path: str, **options: Unpack[ExplainOptions]
    ) -> Steps[Explanation]:
        """Decide a request that a key might make, and show every check."""
        check_options(ExplainOptions, options)

        def steps() -> Steps[Explanation]:
            chain = self._chain((yield from lifecycle.show(key_id)), key_id)
            facts, guarded = self._facts(chain, method, path, options)
            at = options.get("at")
            now = (yield from ask(ReadClock())).wall if at is None else at.timestamp()
            checks = explain(chain, facts, now)
            return Explanation(key=key_id, facts=facts, steps=checks, unguarded=not guarded)

        return self._engine.opened(steps())

    def explain_denial(self, denial: str) -> Steps[DenialExplanation]:
        """Open the id of a denial and find the check that refused."""

        def steps() -> Steps[DenialExplanation]:
            sealed = self._engine.refuser.unseal(denial)
            step = None
            with suppress(NotFoundError):  # whom an authenticator knows is not stored
                if sealed.key is not None:
                    chain = self._chain((yield from lifecycle.show(sealed.key)), sealed.key)
                    for check in chain.checks:
                        if sealed.names(check):
                            step = explain_check(chain, check, None, sealed.reason, sealed.at)
            return DenialExplanation(
                at=datetime.fromtimestamp(sealed.at, UTC),
                reason=sealed.reason,
                meaning=MEANINGS[sealed.reason],
                key=sealed.key,
                step=step,
            )

        return self._engine.opened(steps())

    def _edit(self, node_id: str, edit: Edit, options: ChangeOptions) -> Steps[Receipt]:
        check_options(ChangeOptions, options)
        if self._joins is not None and options.get("wait"):
            problem = "cannot be waited for: nothing holds before the host has committed"
            raise InputError("wait", problem, fix="leave it out, and see `receipts` after that")
        steps = lifecycle.edit(
            self._site,
            node_id,
            edit,
            if_revision=options.get("if_revision"),
            wait=options.get("wait", False),
            dry_run=options.get("dry_run", False),
        )
        return self._engine.opened(steps)

    def _chain(self, loaded: Loaded, key_id: str) -> Chain:
        nodes = {name: row.node if row else None for name, row in loaded.rows.items()}
        key = nodes[key_id]
        if not isinstance(key, APIKey):
            raise InputError("key", f"{key_id} is a group", fix="name a key")
        return Chain(key, nodes, self._site.policy)

    def _facts(
        self, chain: Chain, method: str, path: str, options: ExplainOptions
    ) -> tuple[RequestFacts, bool]:
        match = self._engine.table.match(method, path)
        if match is None:
            raise InputError("path", f"{path!r} is no plain absolute path", fix="write '/v1/x'")
        address = pack_address(options.get("ip"))
        if "ip" in options and address is None:
            raise InputError("ip", f"{options['ip']!r} is no address", fix="write '10.0.0.1'")
        sent_in = options.get("sent_in", "header")
        if sent_in not in _PLACES:
            raise InputError("sent_in", f"{sent_in!r} is unknown", fix=nearest(sent_in, _PLACES))
        facts = RequestFacts(
            method=method,
            path=path,
            address=address,
            tenant=own_tenant(options.get("tenant", match.tenant), chain.home),
            model=options.get("model", match.model),
            access=match.access,
            scopes=match.scopes,
            in_header=sent_in == "header",
        )
        return facts, match.auth != "exempt"


LIST_MAX = 1_000
_KINDS = ("key", "group")
_PLACES: tuple[SentIn, ...] = get_args(SentIn)
_CHANGE = ("if_revision", "wait", "dry_run")
_MEMBERS = ("name", "tenant", "owner", "role", "metadata")


def _limits(given: object) -> Limits:
    if given is None or isinstance(given, Limits):
        return given or Limits()
    if not isinstance(given, Mapping):
        raise InputError("limits", f"are {type(given).__name__}", fix="write Limits(...)")
    return Limits.read(cast("Mapping[str, object]", given))


def _changes(given: object) -> Limits | Mapping[str, object]:
    return cast("Mapping[str, object]", given) if isinstance(given, Mapping) else _limits(given)


def _expiry(given: str | float | timedelta | None) -> float | None:
    return _duration("expires_in", given)


def _duration(field: str, given: str | float | timedelta | None) -> float | None:
    return None if given is None else parse_duration(field, given)


def _usage(key_ids: Sequence[str]) -> Steps[dict[str, Usage]]:
    """Return what is known of keys: nothing where the store keeps none of it."""
    try:
        return (yield from read_usage(key_ids))
    except UncountedError:
        return {}


def _texts(field: str, given: Sequence[str]) -> tuple[str, ...]:
    try:
        texts: tuple[str, ...] = msgspec.convert(given, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise InputError(field, str(error), fix="write a list of texts") from None
    return texts
