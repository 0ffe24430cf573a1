"""A line into a Cluster: each name goes to the node that has it, all of them at the same time.

Which node has which names is asked of any of them, and again when one says that a name has moved or
does not answer. Each node has a breaker of its own: while one is left alone, what it holds is not
there, and the others are asked as ever.

redis-py has a client for this; its timeouts, retries and threads are for those who can wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions
from redis.crc import key_slot

from keybound.caches.redis_cluster_map import read_slots
from keybound.caches.redis_link import (
    PROBE,
    Connect,
    HangUp,
    Line,
    Part,
    Together,
    TooLateError,
    explain,
    pack,
)
from keybound.caches.redis_sockets import Until
from keybound.caches.redis_urls import Address
from keybound.clocks import monotonic
from keybound.core.effects import ask
from keybound.core.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from keybound.caches.redis_cluster_map import Cluster, Node
    from keybound.caches.redis_link import Outcome, Reply
    from keybound.core.effects import Steps

REDIRECTS_MAX = 2
"""How often one name is followed to where it has moved."""

_TRIES_MAX: Final = 3
_SLOTS: Final = pack(b"CLUSTER", b"SLOTS")
_ASKING: Final = pack(b"ASKING")


class AnyNodeLine(Line):
    """A line to any node that answers, another one each time that it connects."""

    __slots__ = ("_cluster",)

    def __init__(self, connection: Any, cluster: Cluster) -> None:  # noqa: ANN401 - of redis-py
        """Use a connection of redis-py, to wherever."""
        super().__init__(connection)
        self._cluster = cluster

    def connect(self) -> Steps[None]:
        """Try some in turn."""
        order = self._cluster.to_ask()[:_TRIES_MAX]
        for tried, address in enumerate(order):
            self._cluster.demote(address)
            self.connection.host, self.connection.port = address
            last = tried == len(order) - 1
            try:
                yield from ask(Connect(1 / (len(order) - tried)))
            except (exceptions.RedisError, OSError):
                if last:
                    raise
            else:
                return


class _Lines:
    """The lines of one line into a Cluster, which looks like a connection to who closes it."""

    def __init__(self, dial: Callable[[Address], Any], *, awaiting: bool) -> None:
        self.until = Until()
        self.open: dict[Address, Line] = {}
        self._dial = dial
        self.disconnect: Callable[..., Any] = self._adisconnect if awaiting else self._disconnect

    def to(self, address: Address) -> Line:
        line = self.open.get(address)
        if line is None:
            line = self.open[address] = Line(self._dial(address))
        return line

    def take_others(self, addresses: Iterable[Address]) -> tuple[Line, ...]:
        kept = {*addresses}
        return tuple(self.open.pop(each) for each in [*self.open] if each not in kept)

    def _disconnect(self) -> None:
        for line in self.take_others(()):
            line.stands = False
            line.connection.disconnect()

    async def _adisconnect(self, *, nowait: bool = False) -> None:
        for line in self.take_others(()):
            line.stands = False
            await line.connection.disconnect(nowait=nowait)


@dataclass(slots=True)
class _Asked:
    """One command, where its name lies, and where it goes; ``asking`` says that it was sent on."""

    packed: bytes
    slot: int
    node: Node | None = None
    asking: bool = False
    reply: Reply = None


class ClusterLine(Line):
    """A line for names, wherever they lie. It never stands: there is no one connection.

    A command that no node answered is answered with the ``CacheError`` that says why.
    """

    __slots__ = ("_cluster", "_lines")

    def __init__(self, cluster: Cluster, dial: Callable[[Address], Any], *, awaiting: bool) -> None:
        """Make connections with ``dial``; nothing is connected."""
        self._lines = _Lines(dial, awaiting=awaiting)
        self._cluster = cluster
        super().__init__(self._lines)

    def converse(
        self, packed: bytes, count: int, failure: Exception | None = None
    ) -> Steps[list[Reply]]:
        """Send each command to the node that has its name. Raises ``CacheError`` if none works."""
        if failure is not None:  # nothing of it can have been tried on this very line
            raise CacheError(explain(failure))
        if self._cluster.wants_map(monotonic()):
            yield from self._ask_for_map()
        asked = [_Asked(*each) for each in _split(packed, count)]
        for each in asked:
            each.node = self._cluster.node_of(each.slot)
        left: Sequence[_Asked] = asked
        for _ in range(1 + REDIRECTS_MAX):
            left = yield from self._say(left)
            if not left:
                break
        nodes = self._cluster.nodes()
        if nodes and all(node.breaker.open for node in nodes):
            raise CacheError(nodes[0].problem)
        return [each.reply for each in asked]

    def probes(self) -> Sequence[bytes]:
        """Return names of nothing, one in each of many slots."""
        return [PROBE, *(b"%b:%d" % (PROBE, number) for number in range(_PROBES))]

    def trouble(self) -> str:
        """Return which nodes do not work, and why."""
        return ", ".join(
            f"{node.address}: {node.problem}" for node in self._cluster.nodes() if node.breaker.open
        )

    def _say(self, asked: Sequence[_Asked]) -> Steps[Sequence[_Asked]]:
        """Say all of this at once; return what has to be said to another node."""
        parts: list[Part] = []
        whose: list[tuple[Node, Sequence[_Asked]]] = []
        now = monotonic()
        for node, its in _by_node(asked):
            if node is None or (node.breaker.open and not node.breaker.admits(now)):
                problem = "no node has it" if node is None else node.problem
                _answer(its, CacheError(problem))
                if node is None:
                    self._cluster.doubt()
                continue
            packed = b"".join([_ASKING * each.asking + each.packed for each in its])
            count = len(its) + sum(each.asking for each in its)
            parts.append(Part(self._lines.to(node.address), packed, count))
            whose.append((node, its))
        outcomes = yield from ask(Together(tuple(parts)))
        left: list[_Asked] = []
        for (node, its), outcome in zip(whose, outcomes, strict=True):
            left += self._take(node, its, outcome)
        return left

    def _take(self, node: Node, asked: Sequence[_Asked], outcome: Outcome) -> Iterator[_Asked]:
        """Note the replies of one node, and yield what has moved."""
        if isinstance(outcome, CacheError):
            _answer(asked, outcome)
            if not isinstance(outcome, TooLateError):
                node.fail(str(outcome))
                self._cluster.doubt()
            return
        replies, down = iter(outcome), 0
        for each in asked:
            if each.asking:
                next(replies)
            each.reply = reply = next(replies)
            if not isinstance(reply, exceptions.ResponseError):
                continue
            word, rest = _words(reply)
            if word in _REDIRECTIONS and (address := _target(rest, node.address)):
                each.asking = word == "ASK"
                each.node = self._cluster.node_at(address)
                each.reply = CacheError("it moves from node to node")
                if not each.asking:
                    self._cluster.doubt()
                yield each
            elif word in _DOWN:
                each.reply = CacheError("its Cluster is down")
                down += 1
        if down == len(asked):
            node.fail("its Cluster is down")
            self._cluster.doubt()
        else:
            node.work()

    def _ask_for_map(self) -> Steps[None]:
        """Ask who has what; without an answer go on with what is known, if anything is."""
        cluster, problem = self._cluster, ""
        order = cluster.to_ask()[:_TRIES_MAX]
        for tried, address in enumerate(order):
            part = Part(self._lines.to(address), _SLOTS, 1)
            # One that hangs leaves time for the others, and for what is asked for.
            (outcome,) = yield from ask(Together((part,), 1 / (len(order) - tried + 1)))
            found = read_slots(outcome, address)
            cluster.demote(address)
            if not isinstance(found, str):
                cluster.adopt(*found)
                yield from ask(HangUp(self._lines.take_others(cluster.to_ask())))
                return
            problem = f"node {address}: {found}"
        if not cluster.nodes():
            raise CacheError(problem)


_PROBES: Final = 256
_REDIRECTIONS: Final = {"MOVED", "ASK"}
_DOWN: Final = {"CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN"}
_NAMED_THIRD: Final = {b"EVAL", b"EVALSHA"}


def _by_node(asked: Sequence[_Asked]) -> Iterable[tuple[Node | None, Sequence[_Asked]]]:
    if len(asked) == 1:
        return [(asked[0].node, asked)]
    groups: dict[Node | None, list[_Asked]] = {}
    for each in asked:
        groups.setdefault(each.node, []).append(each)
    return groups.items()


def _answer(asked: Sequence[_Asked], error: CacheError) -> None:
    for each in asked:
        each.reply = error


def _split(packed: bytes, count: int) -> Iterator[tuple[bytes, int]]:
    """Yield each of so many packed commands, and the slot of its name.

    It was packed by us; so whoever asks one server never looks at what they say again.
    """
    at = 0
    for _ in range(count):
        begins = at
        words, at = _number(packed, at)
        name, named = b"", 0
        for index in range(words):
            size, at = _number(packed, at)
            if index == 0:
                named = 3 if packed[at : at + size] in _NAMED_THIRD else 1
            elif index == named:
                name = packed[at : at + size]
            at += size + 2
        yield packed[begins:at], key_slot(name)


def _number(packed: bytes, at: int) -> tuple[int, int]:
    """Return the number of a header, and where what follows begins."""
    ends = packed.index(b"\r\n", at)
    return int(packed[at + 1 : ends]), ends + 2


def _words(reply: exceptions.ResponseError) -> tuple[str, str]:
    """Return what an error begins with, and the rest; newer versions of redis-py part them."""
    text = str(reply)
    word = next((word for kind, word in _CLASSES if isinstance(reply, kind)), "")
    if word and not text.startswith(word):
        return word, text
    word, _, rest = text.partition(" ")
    return word, rest


_CLASSES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.MovedError, "MOVED"),  # it is an AskError as well
    (exceptions.AskError, "ASK"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.MasterDownError, "MASTERDOWN"),
)


def _target(rest: str, asked: Address) -> Address | None:
    """Return where ``slot host:port`` points to; no host is that of the node which said it."""
    host, _, port = rest.rpartition(" ")[2].rpartition(":")
    return Address(host or asked.host, int(port)) if port.isdecimal() else None
