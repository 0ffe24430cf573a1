"""What the store says of every request, and since when: the measure of every decision.

It is written apart from the decision it judges: a key may make a request when everything in its
chain is alive, and nothing in it is read-only when the request writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from keybound.core.nodes import APIKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound.core.nodes import StoredNode
    from tests.simulation.store import SimulatedStore

METHODS = ("GET", "POST")


class Verdict(NamedTuple):
    """Whether a request is permitted; since when; ``turn`` names this stretch of time."""

    permitted: bool
    since: float
    turn: int


class Question(NamedTuple):
    """A request: which credential, by number, and which method."""

    credential: int
    method: str

    def __str__(self) -> str:
        """Write it as logs do."""
        return f"{self.method} with #{self.credential}"


class Truth:
    """The verdict on every question, kept up to date with the store."""

    def __init__(self) -> None:
        """Know no credential yet."""
        self.verdicts: dict[Question, Verdict] = {}
        self._digests: dict[int, tuple[bytes, ...]] = {}
        self._turns = 0

    def add(self, credential: int, digests: tuple[bytes, ...]) -> None:
        """Judge one more credential from now on: it was not issued yet."""
        self._digests[credential] = digests
        for method in METHODS:
            question = Question(credential, method)
            self.verdicts[question] = Verdict(permitted=False, since=float("-inf"), turn=0)

    def forget(self, credential: int) -> None:
        """Judge a credential no more."""
        del self._digests[credential]
        for method in METHODS:
            del self.verdicts[Question(credential, method)]

    def refresh(self, store: SimulatedStore, now: float) -> list[tuple[Question, int]]:
        """Compare with the store; return the questions whose verdict turned, with their turns."""
        nodes, owners = store.nodes(), store.owners()
        turned: list[tuple[Question, int]] = []
        for question, verdict in self.verdicts.items():
            owner = next((owners[d] for d in self._digests[question.credential] if d in owners), "")
            permitted = _permits(nodes, owner, question.method)
            if permitted != verdict.permitted:
                self._turns += 1
                turned.append((question, self._turns))
                self.verdicts[question] = Verdict(permitted, now, self._turns)
        return turned


def _permits(nodes: Mapping[str, StoredNode], node_id: str, method: str) -> bool:
    node = nodes.get(node_id)
    if node is None or not node.enabled or node.revoked_at is not None:
        return False
    if method != "GET" and node.limits.of("read_only"):
        return False
    above: tuple[str, ...] = ()
    if isinstance(node, APIKey):
        above = node.groups if node.parent is None else (node.parent, *node.groups)
    return all(_permits(nodes, name, method) for name in above)
