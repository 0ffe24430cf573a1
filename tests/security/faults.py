"""What is broken while the request of a case is served: one table, of real troubles.

A fault of Redis is done to a real server, and only where the case runs over one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keybound.core.effects import LogHead, Put
from keybound.core.keys import Peppers
from keybound.core.secret import Secret
from keybound.core.shared import SharedRecords
from keybound.testing.records import commit, row_of
from tests.security import records
from tests.security.events import later
from tests.security.outcomes import NotReplayableError
from tests.security.texts import is_text, members, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from redis import Redis

    from tests.security.replay import Replay
    from tests.security.worlds import RedisPlace

REDIS = frozenset(
    {"redis", "redis_value", "redis_record", "redis_record_of", "redis_restore_old", "redis_swap"}
    | {"pubsub"}
)
"""Faults that there are only over a Redis."""


def needs_redis(fault: Mapping[str, Any]) -> bool:
    """Return whether a fault is one of Redis."""
    return not REDIS.isdisjoint(fault)


def prepare(replay: Replay, fault: Mapping[str, Any]) -> None:
    """Do what must be done before the events of the case."""
    name = next(iter(fault))
    if name not in FAULTS:
        msg = f"nobody knows the fault {name}"
        raise NotReplayableError(msg)
    if fault[name] == "down_after":
        replay.place.extra[f"after {fault['op']}"] = lambda: _redis(replay, "down", {})
    if name == "redis_restore_old":
        replay.place.extra["old"] = {}
        replay.place.extra["remember"] = lambda: _remember(replay)


def install(replay: Replay, fault: Mapping[str, Any]) -> None:
    """Break it; a fault may name several things that break at once."""
    how = {name: value for name, value in fault.items() if name not in FAULTS}
    for name in [each for each in fault if each in FAULTS]:
        FAULTS[name](replay, fault[name], how)


def mend(place: RedisPlace) -> None:
    """Let a server run as it did before."""
    place.server.ensure()
    place.client.config_set("maxmemory", "0")
    place.client.execute_command("REPLICAOF", "NO", "ONE")


def _redis(replay: Replay, what: str, _how: Mapping[str, Any]) -> None:
    if what not in _REDIS and what in _AS_DOWN:
        what = "down"
    if what not in _REDIS:
        msg = f"nobody knows the trouble {what!r} of a Redis"
        raise NotReplayableError(msg)
    if replay.place.redis is not None:
        _REDIS[what](replay, replay.place.redis)


def _read_only(_: Replay, place: RedisPlace) -> None:
    place.client.execute_command("REPLICAOF", "127.0.0.1", "1")


def _full(_: Replay, place: RedisPlace) -> None:
    place.client.config_set("maxmemory-policy", "noeviction")
    place.client.config_set("maxmemory", "1")


def _swapped(_: Replay, place: RedisPlace) -> None:
    """Let each name answer what stands under another one, as a connection that is one late does."""
    names = sorted(place.client.scan_iter())
    values = [place.client.get(name) for name in names]
    for name, value in zip(names, [*values[1:], *values[:1]], strict=True):
        assert isinstance(value, bytes)
        place.client.set(name, value)


_AS_DOWN = frozenset(
    {"auth_error", "broken_pipe", "connection_lost", "connection_reset", "crash", "noauth"}
    | {"refused", "reset", "unreachable"}
)
"""Troubles in which no answer of any use comes: an error of the client, as where nobody listens."""

_REDIS: dict[str, Callable[[Replay, RedisPlace], object]] = {
    "down": lambda _, place: place.server.stop(),
    "down_after": lambda _replay, _place: None,
    "flushall": lambda _, place: place.client.flushall(),
    "full": _full,
    "hang": lambda _, place: place.server.hang(),
    "hung": lambda _, place: place.server.hang(),
    "oom": _full,
    "readonly": _read_only,
    "reply_of_previous_command": _swapped,
    "slow": lambda _, place: place.server.hang(),
    "timeout": lambda _, place: place.server.hang(),
}


def _names(client: Redis) -> Iterator[bytes]:
    yield from list(client.scan_iter())


def _value(replay: Replay, value: object, _how: Mapping[str, Any]) -> None:
    """Put one value under every name that there is."""
    if replay.place.redis is None:
        return
    written = value if is_text(value) else json.dumps(value)
    raw = text(written, replay.place.secrets).encode("latin-1")
    for name in _names(replay.place.redis.client):
        replay.place.redis.client.set(name, raw)


def _record(replay: Replay, given: Mapping[str, Any], _how: Mapping[str, Any]) -> None:
    """Put a record with other members where the key's is, made without the secret of the site."""
    place = replay.place
    if place.redis is None:
        return
    forger = SharedRecords(Secret("somebody who does not know the secret at all"))
    merged = {**(place.case.world.key or {}), **given}
    node = records.key_of("K1", members(merged, place.secrets), above={})
    for name in _names(place.redis.client):
        old = place.redis.client.get(name)
        assert isinstance(old, bytes)
        place.redis.client.set(name, _with_body(forger, name, old, node))


def _with_body(forger: SharedRecords, name: bytes, old: bytes, node: Any) -> bytes:
    """Return a value at the same revision as the old one, with another node in it."""
    start = 1 + 20
    body = old[start + 32 :]
    tag = body[1 : 1 + body[0]]
    return forger.encode(name, node, LogHead(int(old[1:start]), tag, b""), ())


def _remember(replay: Replay) -> None:
    place = replay.place
    if place.redis is not None:
        client = place.redis.client
        place.extra["old"] = {name: client.get(name) for name in _names(client)}


def _restore(replay: Replay, _name: str, _how: Mapping[str, Any]) -> None:
    """Put back what was there before the events, as somebody does who kept a copy."""
    place = replay.place
    if place.redis is None:
        return
    place.redis.client.flushdb()
    for name, value in place.extra["old"].items():
        place.redis.client.set(name, value)
    place.engine.renew()  # nothing is known of it any more but what the store and Redis say


def _sql(replay: Replay, what: str, _how: Mapping[str, Any]) -> None:
    if what in {"readonly", "read_only", "disk_full"}:  # nothing is written to decide a request
        return
    if what not in _SQL:
        msg = f"nobody knows the trouble {what!r} of a store"
        raise NotReplayableError(msg)
    ask_store(replay)
    replay.place.store.reachable = False


_SQL = frozenset(
    {"connection_lost", "crash", "deadlock", "down", "error", "hang", "hung", "locked"}
    | {"operational_error", "pool_exhausted", "raises", "reset", "serialization_failure", "slow"}
    | {"timeout", "too_many_connections", "unreachable"}
)
"""Troubles of a store: to a process, each is one that does not answer what it asked."""


def ask_store(replay: Replay) -> None:
    """Empty the Redis in front of a store, so that a fault of the store is met."""
    if replay.place.redis is not None and replay.place.redis.server.running:
        replay.place.redis.client.flushdb()


def _duplicate(replay: Replay, name: str, _how: Mapping[str, Any]) -> None:
    """Have a second key that the same credential finds: stored without the secret."""
    place = replay.place
    ask_store(replay)
    digest = Peppers(None).digest(place.secrets.of(name))
    node = records.key_of(f"{name}again", {}, above={})
    commit(place.store, Put(node=node, expected=None, digest=digest))


def _returns(replay: Replay, name: str | None, _how: Mapping[str, Any]) -> None:
    """Let the store answer another key's row, or that there is none."""
    ask_store(replay)
    replay.place.store.instead = name or "nobody"


def _swap(replay: Replay, _names: Any, _how: Mapping[str, Any]) -> None:
    """Let each name in Redis hold what belongs under another one."""
    if replay.place.redis is not None:
        _swapped(replay, replay.place.redis)


def _stored(replay: Replay, given: Mapping[str, Any], _how: Mapping[str, Any]) -> None:
    """Change the stored record of the key past keybound, as whoever writes to the database can."""
    place = replay.place
    ask_store(replay)
    row = row_of(place.store, "K1")
    merged = members({**(place.case.world.key or {}), **given}, place.secrets)
    node = records.key_of("K1", merged, above={"groups": ()})
    commit(place.store, Put(node=node, expected=row.rev))
    place.odd = place.odd or records.is_odd(merged)
    place.engine.renew()


def _cancel(replay: Replay, what: str, how: Mapping[str, Any]) -> None:
    if what != "sql" or how.get("cancel_during") not in {"get", "lookup"}:
        msg = f"nobody knows the fault {what!r} with {dict(how)}"
        raise NotReplayableError(msg)
    ask_store(replay)
    replay.cancels = True
    replay.place.store.before_load = replay.hold.wait


def _nothing(_replay: Replay, _value: Any, _how: Mapping[str, Any]) -> None:
    """Do nothing: there is no such part that could fail."""


FAULTS: dict[str, Callable[[Replay, Any, Mapping[str, Any]], None]] = {
    # Nothing is listened to: that other processes change keys is seen by asking the store alone.
    "pubsub": _nothing,
    "redis": _redis,
    "redis_record": _record,
    "redis_record_of": _swap,
    "redis_restore_old": _restore,
    "redis_swap": _swap,
    "redis_value": _value,
    "revoke_parent_before_commit": later("delegation over the management API"),
    "sql": _sql,
    # Time is read from one clock, that of the process: no database is ever asked for it.
    "sql_clock_skew_s": _nothing,
    "sql_duplicate": _duplicate,
    "sql_record": _stored,
    "sql_returns": _returns,
    "store": _cancel,
}
