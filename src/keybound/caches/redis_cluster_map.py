"""Which node of a Cluster has which names, as the nodes tell, and which of them work."""

from __future__ import annotations

import logging
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, cast

from redis import exceptions

from keybound.breaker import Breaker
from keybound.caches.redis_link import explain
from keybound.caches.redis_urls import Address
from keybound.clocks import monotonic
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keybound.caches.redis_link import Outcome

    Ranges = Sequence[tuple[int, int, Address]]

ASKED_EVERY = 1.0
"""Seconds after which a map that may be wrong is asked for again, at the soonest."""

logger = logging.getLogger("keybound")


class Node:
    """One node, whether it works, and what was wrong with it last."""

    __slots__ = ("address", "breaker", "problem")

    def __init__(self, address: Address) -> None:
        """Believe that it works."""
        self.address = address
        self.breaker = Breaker()
        self.problem = ""

    def fail(self, problem: str) -> None:
        """Leave it alone for a moment, and say so if that is news."""
        self.problem = problem
        if self.breaker.fail(monotonic()):
            logger.warning(
                "redis at %s, a node of a Cluster, cannot be used (%s): the store is asked instead",
                self.address,
                problem,
            )

    def work(self) -> None:
        """Note that it answered."""
        if self.breaker.open and self.breaker.work():
            logger.warning("redis at %s, a node of a Cluster, answers again", self.address)


class _Map(NamedTuple):
    """Which node has which slots: ``nodes[i]`` those from ``starts[i]`` on, if it is any."""

    starts: Sequence[int]
    nodes: Sequence[Node | None]


class Cluster:
    """What is known of a Cluster; all lines of a process into it share it."""

    def __init__(self, seeds: Sequence[Address]) -> None:
        """Know no more than where to ask first."""
        self._seeds = frozenset(seeds)  # names, perhaps, that lead to where all of it went
        self._known = [*seeds]
        self._nodes: dict[Address, Node] = {}
        self._map = _Map((), ())
        self._doubtful = True
        self._asked_at = float("-inf")

    def wants_map(self, now: float) -> bool:
        """Return whether to ask for the map: true for one, and then not for a moment."""
        if not self._doubtful or (self._map.nodes and now - self._asked_at < ASKED_EVERY):
            return False
        self._asked_at = now
        return True

    def doubt(self) -> None:
        """Ask for the map again, soon."""
        self._doubtful = True

    def node_of(self, slot: int) -> Node | None:
        """Return the node that has the names of a slot, as far as is known."""
        found = bisect_right(self._map.starts, slot) - 1
        return self._map.nodes[found] if found >= 0 else None

    def node_at(self, address: Address) -> Node:
        """Return the node at an address."""
        return self._nodes.setdefault(address, Node(address))

    def nodes(self) -> Sequence[Node]:
        """Return those that have names."""
        return [*dict.fromkeys(node for node in self._map.nodes if node is not None)]

    def to_ask(self) -> Sequence[Address]:
        """Return addresses of nodes, the most promising first."""
        return tuple(self._known)

    def demote(self, address: Address) -> None:
        """Ask this one last: it did not help, or what it knows may be old the next time."""
        self._known = [each for each in self._known if each != address] + [address]

    def adopt(self, ranges: Ranges, others: Iterable[Address]) -> None:
        """Have a new map, and know replicas as well: one of them may be asked tomorrow."""
        starts: list[int] = []
        nodes: list[Node | None] = []
        end = 0
        for first, last, address in sorted(ranges):
            if first > end:
                starts.append(end)
                nodes.append(None)
            starts.append(first)
            nodes.append(self.node_at(address))
            end = last + 1
        starts.append(end)
        nodes.append(None)
        owners = dict.fromkeys(address for _, _, address in ranges)
        kept = {address: self._nodes[address] for address in owners}
        self._map, self._nodes, self._doubtful = _Map(starts, nodes), kept, False
        there = {*owners, *others}
        known = [each for each in self._known if each in there or each in self._seeds]
        self._known = [*dict.fromkeys((*known, *owners, *others))]


def read_slots(outcome: Outcome, asked: Address) -> tuple[Ranges, Sequence[Address]] | str:
    """Return who has what, and where all nodes are, as ``CLUSTER SLOTS`` tells; or what is wrong.

    A node that does not know its own host is where it was asked.
    """
    if isinstance(outcome, CacheError):
        return str(outcome)
    reply = outcome[0]
    if isinstance(reply, exceptions.ResponseError):
        disabled = "cluster support disabled" in str(reply)
        return "it is no node of a Cluster: write redis://" if disabled else explain(reply)
    ranges: list[tuple[int, int, Address]] = []
    others: list[Address] = []
    for first, last, *nodes in _lists(reply, at_least=3):
        at = [
            Address(host.decode(errors="replace"), port)
            if isinstance(host, bytes) and host not in {b"", b"?"}
            else Address(asked.host, port)
            for host, port, *_ in _lists(nodes, at_least=2)
            if isinstance(port, int)
        ]
        if at and isinstance(first, int) and isinstance(last, int):
            ranges.append((first, last, at[0]))
            others += at
    return (ranges, others) if ranges else "it does not say who has which names"


def _lists(reply: object, *, at_least: int) -> Sequence[Sequence[object]]:
    listed = cast("list[object]", reply) if isinstance(reply, list) else []
    found = [cast("list[object]", each) for each in listed if isinstance(each, list)]
    return [each for each in found if len(each) >= at_least]
