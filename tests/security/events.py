"""What happens before the request of a case: one table, of functions that do it for real."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keybound.core.effects import LoadByDigest, Put, ReadShared
from keybound.core.errors import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    NotFoundError,
)
from keybound.core.nodes import decode_node, encode_node
from keybound.testing.records import commit, row_of
from tests.security import records
from tests.security.outcomes import ComesLaterError, NotReplayableError
from tests.security.references import request_of
from tests.security.sending import sent
from tests.security.texts import members
from tests.security.worlds import OWNER, TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound import Guard
    from tests.security.replay import Replay

LIMITS = {"ips": "networks", "models": "models", "methods": "methods", "scopes": "scopes"}


def happen(replay: Replay, event: Mapping[str, Any]) -> None:
    """Let an event happen; its first member names it, others that are events happen after it.

    What is left says how.
    """
    first = next(iter(event))
    if first not in EVENTS:
        msg = f"nobody knows the event {first}"
        raise NotReplayableError(msg)
    how = {name: value for name, value in event.items() if name not in EVENTS}
    for name in [each for each in event if each in EVENTS]:
        with suppress(
            InputError, ConflictError, NotFoundError, ExceedsCeilingError
        ):  # what keybound refuses has not happened
            EVENTS[name](replay, event[name], how)


def _request(replay: Replay, name: str, how: Mapping[str, Any]) -> None:
    """Send the request of another case at this very application, once or several times."""
    request = request_of(name, replay.cases)
    for _ in range(int(how.get("times", 1))):
        with suppress(AssertionError):
            replay.send(sent(request, replay.place.secrets))


def _by(replay: Replay, how: Mapping[str, Any]) -> Guard:
    """Return whose change it is: this process's own, or that of another one."""
    via = how.get("via", _HERE)
    if how.keys() - {"via", "grace", "by"} or via not in {_HERE, *_ELSEWHERE}:
        msg = f"nobody knows how: {dict(how)}"
        raise NotReplayableError(msg)
    return replay.place.guard if via == _HERE else replay.place.beside


_HERE = "same_process"
_ELSEWHERE = frozenset({"other_process", "other_worker", "other_host", "cli"})
"""Where else a change is made: each is another process over the same store."""


def _verb(verb: str, start: str = "") -> Callable[[Replay, Any, Mapping[str, Any]], None]:
    """Return what calls a verb of a guard with a node."""

    def call(replay: Replay, name: str, how: Mapping[str, Any]) -> None:
        guard = _by(replay, how)
        hook = replay.place.extra.get(f"after {verb}")
        getattr(guard, verb)(start + name)
        if hook is not None:
            hook()

    return call


def _update(start: str = "") -> Callable[[Replay, Any, Mapping[str, Any]], None]:
    def call(replay: Replay, value: Mapping[str, Any], how: Mapping[str, Any]) -> None:
        for name, changed in value.items():
            given = members(changed, replay.place.secrets)
            unknown = given.keys() - LIMITS.keys() - _OTHER_LIMITS - _NAMES - {"enabled"}
            if unknown:
                msg = f"no update is for {', '.join(sorted(unknown))}"
                raise NotReplayableError(msg)
            if "enabled" in given:
                verb = "enable" if given.pop("enabled") else "disable"
                getattr(_by(replay, how), verb)(start + name)
            options = {each: given.pop(each) for each in _NAMES & given.keys()}
            if "ips_deny" in given:
                given["ips"] = records.networks_of(given)
                del given["ips_deny"]
            limits = {LIMITS.get(each, each): "*" if v is None else v for each, v in given.items()}
            if limits or options:
                _by(replay, how).update(start + name, **options, limits=limits)

    return call


_OTHER_LIMITS = frozenset({"read_only", "expires_at", "not_before", "ips_deny", "hours"})
_NAMES = frozenset({"name", "tenant", "owner", "role", "metadata"})


def _restrict(replay: Replay, value: Mapping[str, Any], how: Mapping[str, Any]) -> None:
    """Narrow keys, which never widens them."""
    for name, changed in value.items():
        given = members(changed, replay.place.secrets)
        limits = {LIMITS.get(each, each): limit for each, limit in given.items()}
        _by(replay, how).restrict(name, limits)


def _forget(replay: Replay, _value: Any, _how: Mapping[str, Any]) -> None:
    """Let the process begin anew: it knows nothing that it has not asked for."""
    replay.place.engine.renew()


def _delete(replay: Replay, name: str, how: Mapping[str, Any]) -> None:
    """End a key. Rows of keys are never deleted here: a key is revoked, for ever."""
    _by(replay, how).revoke(name)


def _create(replay: Replay, given: Mapping[str, Any], how: Mapping[str, Any]) -> None:
    """Issue another key. Nobody chooses its id, so that it is never the one of an earlier key."""
    options = {"name": given.get("name", "a key"), "tenant": given.get("tenant", "acme")}
    _by(replay, how).issue(**options)


def _create_with_same_secret(replay: Replay, _value: Any, _how: Mapping[str, Any]) -> None:
    """Write a key of the secret that was tried in vain, as an import in another process does."""
    replay.send()
    place = replay.place
    node = records.key_of("K1", {}, above={})
    commit(place.store, Put(node=node, expected=None, digest=place.secrets.digest("K1")))


def _rewrite(replay: Replay, name: str, _how: Mapping[str, Any]) -> None:
    """Read a record and write it again, as a program does that does not know all that is in it."""
    row = row_of(replay.place.store, name)
    again = decode_node(encode_node(row.node))
    commit(replay.place.store, Put(node=again, expected=row.rev))


def _begin_fill(replay: Replay, _name: str, _how: Mapping[str, Any]) -> None:
    """Let a request read a key, from Redis or from the store, and hold it there."""
    engine = replay.place.engine
    steps = replay.authorized(replay.each)
    effect = next(steps)
    while not isinstance(effect, LoadByDigest | ReadShared):
        effect = steps.send(engine.perform(effect))
    replay.held = steps, engine.perform(effect)


def _finish_fill(replay: Replay, _name: str, _how: Mapping[str, Any]) -> None:
    """Let that request go on with what it read."""
    steps, answer = replay.held
    with suppress(StopIteration):
        effect = steps.send(answer)
        while True:
            effect = steps.send(replay.place.engine.perform(effect))


def _pass(replay: Replay, seconds: float, _how: Mapping[str, Any]) -> None:
    replay.place.pass_time(float(seconds))


def _set_clock(replay: Replay, moment: str, _how: Mapping[str, Any]) -> None:
    now = datetime.fromisoformat(moment)
    replay.place.pass_time((now - replay.place.clock.now).total_seconds())


def _redis(replay: Replay, what: str, _how: Mapping[str, Any]) -> None:
    place = replay.place
    if what not in {"flushall", "flushdb", "evict", "restart"}:
        msg = f"nobody knows what {what!r} is at a Redis"
        raise NotReplayableError(msg)
    if place.redis is None:  # the same case also runs without one
        return
    if what == "restart":
        place.redis.server.stop()
        place.redis.server.start()
    else:
        place.redis.client.flushdb()


def _mutate(replay: Replay, given: Mapping[str, Any], _how: Mapping[str, Any]) -> None:
    """Let an application try to change the identity that requests share."""
    replay.send()
    for entry in list(replay.place.engine.cache.entries.values()):
        if entry.chain is None:
            continue
        identity = entry.chain.identity(entry.chain.home)
        for name, value in given.items():
            with suppress(AttributeError, TypeError):
                setattr(identity, name, value)
            with suppress(AttributeError, TypeError):
                getattr(identity, name).update(value)
            with suppress(AttributeError, TypeError):
                getattr(identity, name).extend(value)


def _connect(replay: Replay, _value: Any, _how: Mapping[str, Any]) -> None:
    """Leave it to the run of an open socket, which does all events while it is open."""
    replay.place.extra["connected"] = True


def later(part: str) -> Callable[[Replay, Any, Mapping[str, Any]], None]:
    """Return what is done for a part of keybound that comes later: nothing can be replayed."""

    def refuse(_replay: Replay, _value: Any, _how: Mapping[str, Any]) -> None:
        raise ComesLaterError(part)

    return refuse


EVENTS: dict[str, Callable[[Replay, Any, Mapping[str, Any]], None]] = {
    "advance_clock": _pass,
    "begin_fill": _begin_fill,
    "clear_cache": _forget,
    "connect": _connect,
    "create": _create,
    "create_with_same_secret": _create_with_same_secret,
    "delete": _delete,
    "delete_group": _verb("revoke"),
    "delete_owner": _verb("revoke", OWNER),
    "delete_tenant": _verb("revoke", TENANT),
    "disable": _verb("disable"),
    "disable_group": _verb("disable"),
    "disable_owner": _verb("disable", OWNER),
    "disable_tenant": _verb("disable", TENANT),
    "enable": _verb("enable"),
    "enable_group": _verb("enable"),
    "enable_owner": _verb("enable", OWNER),
    "enable_tenant": _verb("enable", TENANT),
    "finish_fill": _finish_fill,
    "flush_cache": _forget,
    "import": later("import of keys"),
    "old_version_roundtrip": _rewrite,
    "redis": _redis,
    "request": _request,
    "request_app_mutates": _mutate,
    "restart": _forget,
    "restrict": _restrict,
    "revoke": _verb("revoke"),
    "rotate": later("rotation of keys"),
    "set_clock": _set_clock,
    "sleep": _pass,
    "update": _update(),
    "update_group": _update(),
    "update_owner": _update(OWNER),
    "update_tenant": _update(TENANT),
    "wait": _pass,
}
