"""Several servers of Redis or Valkey: watched by Sentinels, or as a Cluster.

Every process is ended by the fixture that started it.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.redis_process import Process, server_of, wait_for

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = 16_384
DOWN_AFTER_MS = 300
NODE_TIMEOUT_MS = 500
PRIMARY = "orders primary"
"""What the Sentinels know the primary as: a name that a URL has to escape."""


class Watched:
    """A primary and a replica, and three Sentinels that watch them."""

    def __init__(self, name: str, folder: Path) -> None:
        """Start all of them, and wait until the Sentinels know each other."""
        self.binary = server_of(name)
        options = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "5")
        self.servers = [Process(self.binary, folder, *options) for _ in range(2)]
        self._sentinel_text = (
            f'sentinel monitor "{PRIMARY}" 127.0.0.1 {self.servers[0].port} 2\n'
            f'sentinel down-after-milliseconds "{PRIMARY}" {DOWN_AFTER_MS}\n'
            f'sentinel failover-timeout "{PRIMARY}" 2000\n'
        )
        self.sentinels = [
            Process(self.binary, folder, sentinel=self._sentinel_text) for _ in range(3)
        ]
        try:
            for each in self.servers:
                each.start()
            self.servers[1].say("REPLICAOF", "127.0.0.1", self.servers[0].port)
            wait_for(lambda: _follows(self.servers[1]))
            for each in self.sentinels:
                each.start()
            wait_for(self._agreed)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all of them."""
        for each in (*self.sentinels, *self.servers):
            each.stop()

    def ensure(self) -> None:
        """Have a primary, a replica and Sentinels that agree, whatever happened before."""
        for each in (*self.sentinels, *self.servers):
            each.ensure()
        primary, replica = self.primary, self.replica
        if primary.say("ROLE")[0] != b"master":  # Sentinels that are new know of no failover
            primary.say("REPLICAOF", "NO", "ONE")
        if replica.say("ROLE")[0] == b"master":  # Sentinels would see to it, after ten seconds
            replica.say("REPLICAOF", "127.0.0.1", primary.port)
        wait_for(self._agreed)

    @property
    def primary(self) -> Process:
        """The server that the Sentinels say is the primary."""
        _, port = self.sentinels[0].say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)
        return next(each for each in self.servers if each.port == int(port))

    @property
    def replica(self) -> Process:
        """The other one."""
        primary = self.primary
        return next(each for each in self.servers if each is not primary)

    def url(self, database: int = 0, *, user: str = "", options: str = "") -> str:
        """Return the setting that leads to it."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{user}{hosts}/{PRIMARY.replace(' ', '%20')}/{database}{options}"

    def _agreed(self) -> bool:
        import redis

        with suppress(redis.RedisError, StopIteration):
            primary = self.primary
            replica = next(each for each in self.servers if each is not primary)
            return (
                all(self._knows(each, primary) for each in self.sentinels)
                and primary.say("ROLE")[0] == b"master"
                and _follows(replica)
            )
        return False

    def _knows(self, sentinel: Process, primary: Process) -> bool:
        told: Any = sentinel.client(decode_responses=True).sentinel_master(PRIMARY)
        return bool(
            told["port"] == primary.port
            and told["flags"] == "master"
            and told["num-other-sentinels"] == len(self.sentinels) - 1
            and told["num-slaves"] >= 1
            and all(
                "down" not in each["flags"]
                for each in sentinel.client(decode_responses=True).sentinel_slaves(PRIMARY)
            )
        )


class Nodes:
    """A Cluster of three primaries, each with a replica if that is wanted."""

    def __init__(self, name: str, folder: Path, *, replicas: bool = True) -> None:
        """Start all of them, and wait until each knows all names."""
        self.binary = server_of(name)
        options = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-require-full-coverage", "no", "--cluster-config-file", "nodes.conf"),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
        )
        self.nodes = [Process(self.binary, folder, *options) for _ in range(6 if replicas else 3)]
        try:
            for each in self.nodes:
                each.start()
            self._join()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all of them."""
        for each in self.nodes:
            each.stop()

    def ensure(self) -> None:
        """Have all of them, whatever happened before."""
        for each in self.nodes:
            each.ensure()
        wait_for(self._whole)

    def url(self, *, user: str = "") -> str:
        """Return the setting that leads to it, which names three nodes."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.nodes[:3])
        return f"redis+cluster://{user}{hosts}"

    def owner(self, name: bytes) -> Process:
        """Return the node that has a name now."""
        from redis.crc import key_slot

        slot = key_slot(name)
        for first, last, (_, port, *_), *_ in self.alive().say("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(each for each in self.nodes if each.port == port)
        raise LookupError(name)

    def owners(self) -> list[Process]:
        """Return the primaries."""
        ports = {each[2][1] for each in self.alive().say("CLUSTER", "SLOTS")}
        return [each for each in self.nodes if each.port in ports]

    def alive(self) -> Process:
        """Return one that answers."""
        import redis

        for each in self.nodes:
            with suppress(redis.RedisError):
                each.say("PING")
                return each
        raise LookupError

    def names(self) -> dict[bytes, Process]:
        """Return all names that there are, and who has them."""
        return {
            name: node for node in self.owners() for name in node.client().scan_iter(count=1_000)
        }

    def flush(self) -> None:
        """Empty it."""
        for each in self.owners():
            each.say("FLUSHALL")

    def _join(self) -> None:
        first, *others = self.nodes
        for each in others:
            first.say("CLUSTER", "MEET", "127.0.0.1", each.port)
        for number, each in enumerate(self.nodes[:3]):
            slots = range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
            each.say("CLUSTER", "ADDSLOTS", *slots)
        ids = [each.say("CLUSTER", "MYID") for each in self.nodes[:3]]
        wait_for(self._met)
        for each, primary in zip(self.nodes[3:], cycle(ids), strict=False):
            each.say("CLUSTER", "REPLICATE", primary)
        wait_for(self._whole)

    def _met(self) -> bool:
        known = b"cluster_known_nodes:%d\r" % len(self.nodes)
        return all(known in each.said("CLUSTER", "INFO") for each in self.nodes)

    def _whole(self) -> bool:
        import redis

        with suppress(redis.RedisError):
            return all(
                b"cluster_state:ok" in each.said("CLUSTER", "INFO") for each in self.nodes
            ) and all(
                len(told) == 3 + (len(self.nodes) > 3)
                for each in self.nodes
                for told in each.say("CLUSTER", "SLOTS")
            )
        return False


def _follows(replica: Process) -> bool:
    return b"master_link_status:up" in replica.said("INFO", "replication")


@pytest.fixture(scope="session")
def _watched(tmp_path_factory):
    watched = Watched("valkey", tmp_path_factory.mktemp("watched"))
    yield watched
    watched.stop()


@pytest.fixture
def watched(_watched):
    """Return a primary, a replica and Sentinels, all in order."""
    _watched.ensure()
    with _watched.primary.client() as client:
        client.flushall()
    yield _watched
    _watched.ensure()


@pytest.fixture(scope="session")
def _nodes(tmp_path_factory):
    nodes = Nodes("valkey", tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.stop()


@pytest.fixture
def nodes(_nodes):
    """Return a Cluster, empty and whole."""
    _nodes.ensure()
    _nodes.flush()
    yield _nodes
    _nodes.ensure()
