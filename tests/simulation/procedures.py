"""What operators do in the simulation, through the real verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core import edits, issuing, lifecycle
from keybound.core.effects import Commit, Put, ReadEntropy, ask

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
    tag = yield from ask(ReadEntropy(lifecycle.TAG_BYTES))
    head = yield from ask(Commit(puts=tuple(puts), tag=tag))
    site.raise_floors([put.node.id for put in puts], head)
    if site.announcer is not None:
        for put, digest in zip(puts, digests, strict=True):
            yield from site.announcer.announce(put, head, digest=digest, above=())


CHANGES: Mapping[str, Callable[[SimulatedWorker, str], Steps[Any]]] = {
    "disable": lambda worker, node: worker.verbs.disable(node),
    "disable and wait": lambda worker, node: worker.verbs.disable(node, wait=True),
    "enable": lambda worker, node: worker.verbs.enable(node),
    "restrict": lambda worker, node: worker.verbs.restrict(node, READ_ONLY),
    "widen": lambda worker, node: worker.verbs.update(node, limits={"read_only": "*"}),
    "rename": lambda worker, node: worker.verbs.update(node, name="renamed"),
    "revoke": lambda worker, node: worker.verbs.revoke(node),
}
