"""What there is before a request: a store with nodes, a guard over it, and a process beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from keybound import Guard, Settings
from keybound.core.errors import StoreUnavailableError
from keybound.engine import Engine
from keybound.stores import open_store
from keybound.stores.memory import MemoryStore
from keybound.testing import FakeClock
from keybound.testing.records import commit
from tests.security import evaluators, records
from tests.security.keyring import Secrets
from tests.security.settings_of import chosen
from tests.security.texts import members
from tests.security.watched import WatchedStore
from tests.services.redis import sharing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from redis import Redis

    from tests.security.cases import Case, World
    from tests.services.redis import RedisServer

SECRET = "what digests and the ids of denials of these tests rest on"
CHAIN_SHORT = 64
"""Ancestors that stand for ten thousand, unless the full numbers are asked for."""

TENANT, OWNER = "tenant:", "owner:"
"""What the id of a group begins with that stands for a tenant or for an owner.

Neither is a node of its own here: an application that keeps them alive or dead has their keys in a
group each.
"""


@dataclass(slots=True)
class RedisPlace:
    """One database of a real server."""

    server: RedisServer
    database: int
    client: Redis

    @property
    def url(self) -> str:
        """What the setting is."""
        return self.server.url(self.database)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where records come from: a store, and perhaps a Redis in front of it."""

    store: str
    redis: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.store}+redis" if self.redis else self.store


class Place:
    """A world as it is for one subject: guard, store, clock and keys."""

    def __init__(
        self, case: Case, way: Way, *, folder: Path, redis: RedisPlace | None, full: bool
    ) -> None:
        """Make the guard, and write all nodes; raises what keybound raises for wrong settings."""
        self.case, self.way, self.full, self.folder = case, way, full, folder
        self.redis = redis if way.redis else None
        world = case.world
        self.clock = FakeClock(world.clock) if world.clock is not None else FakeClock()
        made = chosen(world.settings)
        evaluators.register(made.evaluator, world)
        self.zone = made.zone
        self.store = WatchedStore(open_store(_database(way, folder)))
        cache: dict[str, Any] = {}
        if self.redis is not None:
            cache = {"redis": self.redis.url, "redis_timeout": 2}
        self.settings = Settings(secret=SECRET, **made.settings, **cache)  # type: ignore[arg-type]
        self.guard = self._join()
        self.guard.open()
        self.secrets = Secrets(self.engine.format, self.engine.peppers)
        self.extra: dict[str, Any] = {}
        self._write(world)

    @property
    def engine(self) -> Engine:
        """The engine of the guard that decides the request."""
        return self.guard.engine

    def _join(self) -> Guard:
        return Guard(Engine(self.settings, self.store, self.clock, background=False))

    @property
    def beside(self) -> Guard:
        """A guard of another process over the same store and the same Redis."""
        found: Guard | None = self.extra.get("beside")
        if found is None:
            found = self.extra["beside"] = self._join()
            found.open()
        return found

    def _write(self, world: World) -> None:
        keys = {
            name: members(each, self.secrets)
            for name, each in world.keys.items()
            if each is not None
        }
        if world.key is not None:
            keys["K1"] = members(world.key, self.secrets)
        for name in list(keys):
            self._lengthen(keys, name)
        groups = {
            name: members(each, self.secrets)
            for name, each in world.groups.items()
            if each is not None
        }
        above = self._above(world, keys, groups)
        digests = {name: self.secrets.digest(name) for name in keys}
        made = records.puts(keys, groups, digests, above=above)
        if made:
            commit(self.store, *(records.plain(put) for put in made))
        for put in made:
            if records.plain(put) is not put:
                self._overwrite(put.node.id, records.written(put.node))
        self.odd = any(records.is_odd(each) for each in (*keys.values(), *groups.values()))

    def _overwrite(self, node: str, record: bytes) -> None:
        """Put another record where that of a node is, past keybound."""
        if isinstance(self.store.store, MemoryStore):
            stored = self.store.store._nodes  # noqa: SLF001 - it is what lies in this store
            stored[node] = replace(stored[node], record=record)
            return
        with closing(sqlite3.connect(self.store.location)) as database:
            database.execute("UPDATE keybound_nodes SET body = ? WHERE id = ?", (record, node))
            database.commit()

    def _lengthen(self, keys: dict[str, dict[str, Any]], name: str) -> None:
        """Give a key whose parent is ``{"chain": n}`` that many ancestors."""
        parent = keys[name].get("parent")
        if not (isinstance(parent, dict) and parent.keys() == {"chain"}):
            return
        length = int(parent["chain"])
        length = length if self.full else min(length, CHAIN_SHORT)
        keys[name]["parent"] = "A0"
        for number in range(length):
            above = f"A{number + 1}" if number + 1 < length else None
            keys[f"A{number}"] = {"parent": above}

    def _above(
        self, world: World, keys: Mapping[str, Any], groups: dict[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Add a group for each tenant and owner that is more than a name; return who is in them."""
        tenants = {*world.tenants, *_with(world, "tenant")}
        owners = {*world.owners, *_with(world, "owner")}
        for start, names, given in (
            (TENANT, tenants, world.tenants),
            (OWNER, owners, world.owners),
        ):
            groups |= {start + name: members(given.get(name, {}), self.secrets) for name in names}
        above: dict[str, dict[str, Any]] = {}
        for name, each in keys.items():
            tenant, owner = each.get("tenant", records.BASE["tenant"]), each.get("owner")
            within = [TENANT + each for each in tenants if each == tenant]
            within += [OWNER + each for each in owners if each == owner]
            above[name] = {"groups": within}
        return above

    def pass_time(self, seconds: float) -> None:
        """Let time pass as a process spends it, which asks the store now and then.

        In vain where the case has a store that does not answer.
        """
        if seconds < 0:
            self.clock._wall += seconds  # noqa: SLF001 - somebody sets it: nothing else goes back
            return
        if any("sql" in fault for fault in self.case.world.faults):
            self.clock.advance(seconds=seconds)
            return
        step = self.settings.sync_every
        while seconds > 0:
            self.clock.advance(seconds=min(step, seconds))
            seconds -= step
            self.sync()

    def sync(self) -> None:
        """Do what runs in the background otherwise; that it fails is its own affair."""
        try:
            self.engine._sync()  # noqa: SLF001 - what the background thread calls
        except StoreUnavailableError:
            return

    def share(self) -> None:
        """Let the process beside read every key, and wait until that is in Redis."""
        assert self.redis is not None
        names = [name for name in ("K1", *self.case.world.keys) if not name.startswith("A")]
        with sharing(self.beside.engine, self.redis.client):
            for name in names:
                value = b"Bearer " + self.secrets.of(name).encode()
                self.beside.authorize("GET", "/", None, value)

    @contextmanager
    def in_zone(self) -> Iterator[None]:
        """Run in the time zone that the case has its process in."""
        if self.zone is None:
            yield
            return
        before = os.environ.get("TZ")
        os.environ["TZ"] = self.zone
        time.tzset()
        try:
            yield
        finally:
            os.environ.pop("TZ")
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

    def close(self) -> None:
        """Let everything go."""
        for guard in (self.guard, *(each for each in self.extra.values() if _is_guard(each))):
            guard.close()
        evaluators.forget()


def _is_guard(value: object) -> bool:
    return isinstance(value, Guard)


def _with(world: World, what: str) -> Iterator[str]:
    """Yield the name of every tenant, or owner, that something happens to."""
    for event in world.events:
        name = next(iter(event))
        if name.endswith(f"_{what}"):
            yield from [event[name]] if isinstance(event[name], str) else event[name]


def _database(way: Way, folder: Path) -> str:
    """Return a database that is empty; an SQLite file is copied from one that was made once."""
    if way.store == "memory":
        return "memory://"
    empty = folder / "empty.db"
    if not empty.exists():
        guard = Guard(
            Engine(
                Settings(secret=SECRET),  # type: ignore[arg-type]
                open_store(str(empty)),
                FakeClock(),
                background=False,
            )
        )
        guard.open()
        guard.close()
    copy = folder / f"{blake2b(os.urandom(16), digest_size=8).hexdigest()}.db"
    shutil.copyfile(empty, copy)
    return str(copy)
