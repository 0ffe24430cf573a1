"""What operators do in the simulation, through the real verbs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keybound.core import edits, issuing, lifecycle, stamping
from keybound.core.effects import Commit, Loaded, Put, ReadEntropy, ask
from keybound.core.errors import StoreUnavailableError
from keybound.verbs import Verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from keybound.core.effects import Steps
    from tests.simulation.worker import SimulatedWorker


READ_ONLY = {"read_only": True}


def issue(worker: SimulatedWorker, *, parent: str | None, groups: Sequence[str]) -> Steps[Any]:
    """Issue a key; the first entropy it draws is the key itself."""
    asked = issuing.NewKey(name="simulated", parent=parent, groups=tuple(groups))
    return issuing.issue(worker.engine.site, asked)


def switch_several(worker: SimulatedWorker, nodes: Sequence[str], *, enabled: bool) -> Steps[None]:
    """Enable or disable several nodes in one revision."""
    site = worker.engine.site
    now = yield from lifecycle.read_now()
    puts, digests = [], []
    for node in dict.fromkeys(nodes):
        row = (yield from lifecycle.load(node)).rows.get(node)
        if row is not None and row.node.revoked_at is None:
            switched = edits.activation(enabled=enabled)(row.node, now)
            puts.append(Put(node=switched, expected=row.rev))
            digests.append(row.digest)
    tag = yield from ask(ReadEntropy(stamping.TAG_BYTES))
    head = yield from ask(Commit(puts=tuple(puts), tag=tag))
    site.raise_floors([put.node.id for put in puts], head)
    if site.announcer is not None:
        for put, digest in zip(puts, digests, strict=True):
            yield from site.announcer.announce(
                put, head, committed_at=now.timestamp(), digest=digest, above=()
            )


def change_with_host(
    worker: SimulatedWorker, verb: str, node: str, *, dies: bool
) -> Steps[tuple[lifecycle.Receipt, ...]]:
    """Change a node within a transaction of a host, which may die as soon as that is committed."""
    joined: list[str] = []
    site = worker.engine.site
    yield from _within(CHANGES[verb](Verbs(worker.engine, joins=joined.extend), node))
    return (yield from _committed(site, joined, dies=dies))


def issue_with_host(
    worker: SimulatedWorker, *, parent: str | None, groups: Sequence[str], dies: bool
) -> Steps[tuple[lifecycle.Receipt, ...]]:
    """Issue a key within a transaction of a host."""
    joined: list[str] = []
    site = worker.engine.site
    asked = issuing.NewKey(name="simulated", parent=parent, groups=tuple(groups))
    yield from _within(issuing.issue(replace(site, joins=joined.extend), asked))
    return (yield from _committed(site, joined, dies=dies))


def _committed(
    site: lifecycle.Site, joined: Sequence[str], *, dies: bool
) -> Steps[tuple[lifecycle.Receipt, ...]]:
    if dies:
        raise StoreUnavailableError("the host died")
    return (yield from lifecycle.settle(site, joined))


def _within(steps: Steps[Any]) -> Steps[Any]:
    """Answer a host out of its own transaction, where nothing needs a revision."""
    answer: Any = None
    error: Exception | None = None
    try:
        while True:
            effect = steps.send(answer) if error is None else steps.throw(error)
            answer, error = None, None
            try:
                answer = yield effect
            except Exception as failure:  # noqa: BLE001 - whatever it is, it is handed on
                error = failure
            if isinstance(answer, Loaded):
                answer = replace(answer, unstamped=False)
    except StopIteration as stop:
        return stop.value


CHANGES: Mapping[str, Callable[[Verbs, str], Steps[Any]]] = {
    "disable": lambda verbs, node: verbs.disable(node),
    "enable": lambda verbs, node: verbs.enable(node),
    "restrict": lambda verbs, node: verbs.restrict(node, READ_ONLY),
    "widen": lambda verbs, node: verbs.update(node, limits={"read_only": False}),
    "rename": lambda verbs, node: verbs.update(node, name="renamed"),
    "revoke": lambda verbs, node: verbs.revoke(node),
}
WAITING: Mapping[str, Callable[[Verbs, str], Steps[Any]]] = {
    "disable and wait": lambda verbs, node: verbs.disable(node, wait=True),
}
"""What no host can do within its transaction."""
