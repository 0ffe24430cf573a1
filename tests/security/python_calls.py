"""The calls of Python that cases name, as functions."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import logging
import math
import pickle
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from keybound import Limits, Settings
from keybound.core.decision import Allowed
from keybound.core.errors import KeyboundError
from keybound.core.keys import BASE62
from keybound.core.secret import Secret
from keybound.stores import open_store
from tests.security.outcomes import ComesLaterError, NotReplayableError
from tests.security.references import request_of
from tests.security.sending import sent
from tests.security.subjects import pure
from tests.security.walks import walk
from tests.security.worlds import SECRET, Place, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.calls import Calls

DSN_PASSWORD = "hunter2hunter2"


def _issued(calls: Calls) -> Any:
    if "issued" not in calls.facts:
        calls.facts["issued"] = calls.issue()
    return calls.facts["issued"]


def _identity(calls: Calls) -> Any:
    value = b"Bearer " + _issued(calls).secret.reveal().encode()
    decision = calls.guard.authorize("GET", "/", None, value)
    assert isinstance(decision, Allowed)
    return decision.identity


def _with_password(calls: Calls) -> Settings:
    calls.secrets.append(f"x_{DSN_PASSWORD}")
    url = f"postgresql://user:{DSN_PASSWORD}@127.0.0.1/keys"
    redis = f"redis://user:{DSN_PASSWORD}@127.0.0.1/0"
    return Settings(secret=SECRET, database=url, redis=redis)  # type: ignore[arg-type]


def _decision(calls: Calls) -> Any:
    value = b"Bearer " + _issued(calls).secret.reveal().encode()
    return calls.guard.authorize("GET", "/", None, value)


OBJECTS: dict[str, Callable[[Calls], Any]] = {
    "decision": _decision,
    "engine": lambda calls: calls.guard.engine,
    "guard": lambda calls: calls.guard,
    "key": lambda calls: _issued(calls).key,
    "secret": lambda calls: _issued(calls).secret,
    "identity": _identity,
    "issued": _issued,
    "record": lambda calls: calls.guard.show(_issued(calls).id),
    "settings": _with_password,
    "store": lambda calls: open_store(_with_password(calls).database),
}

WAYS: dict[str, Callable[[Any], Any]] = {
    "asdict": dataclasses.asdict,
    "copy": copy.deepcopy,
    "json": msgspec.json.encode,
    "pickle": pickle.dumps,
    "repr": repr,
    "str": str,
    "vars": vars,
}


def _shown(calls: Calls, way: str, name: str) -> None:
    """Show an object in one way: it says nothing, or refuses, naming no secret either."""
    if way not in WAYS or name not in OBJECTS:
        msg = f"nobody knows {way}({name})"
        raise NotReplayableError(msg)
    value = OBJECTS[name](calls)
    try:
        calls.texts.append(str(WAYS[way](value)))
    except (TypeError, AttributeError) as error:
        calls.raised(error)
    if way == "json":
        calls.texts.append(json.dumps(repr(value)))


def _formatted(calls: Calls, name: str) -> None:
    calls.texts.append(f"{OBJECTS[name](calls)}")


def _place(calls: Calls) -> Place:
    way = Way(store="memory")
    return Place(calls.case, way, folder=calls.tools.folder, redis=None, full=False)


def _authenticate(calls: Calls, name: str) -> None:
    """Send the request of another case: whatever is raised, and wherever, says nothing of it."""
    place = _place(calls)
    try:
        pure(place, sent(request_of(name, calls.tools.cases), place.secrets))
    except Exception as error:  # noqa: BLE001 - it is looked into
        calls.raised(error)
    finally:
        place.close()


def _all_cases(calls: Calls) -> None:
    """Send the requests of all cases; the log is looked into by whoever listens to it."""
    for case in calls.tools.cases.values():
        if case.kind != "http" or "test.flood" in (case.request.get("scope") or {}):
            continue
        try:
            place = Place(
                case, Way(store="memory"), folder=calls.tools.folder, redis=None, full=False
            )
        except (KeyboundError, NotReplayableError, ComesLaterError, TypeError):
            continue
        try:
            pure(place, sent(case.request, place.secrets))
        finally:
            place.close()


def _echo(calls: Calls) -> None:
    """Authenticate over SQL while every statement and its parameters are logged."""
    before = logging.getLogger("sqlalchemy.engine").level
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    try:
        way = Way(store="sqlite")
        place = Place(calls.case, way, folder=calls.tools.folder, redis=None, full=False)
        pure(place, sent(request_of("HDR-001", calls.tools.cases), place.secrets))
        place.close()
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(before)


def _integrity(calls: Calls) -> None:
    """Write two keys of one secret: the store refuses, and says which keys, not which secret."""
    from keybound.testing.records import a_key, commit, new

    way = Way(store="sqlite")
    place = Place(calls.case, way, folder=calls.tools.folder, redis=None, full=False)
    calls.secrets.append(place.secrets.of("K1"))
    try:
        commit(place.store, new(a_key("again"), place.secrets.digest("K1")))
    except KeyboundError as error:
        calls.raised(error)
    else:
        msg = "two keys have one secret"
        raise AssertionError(msg)
    finally:
        place.close()


def _display(calls: Calls) -> None:
    """Count what stays hidden when the hint is shown."""
    issued = _issued(calls)
    secret, hint = issued.secret.reveal(), issued.key.hint
    random_part = secret.rpartition("_")[2][:-6]  # without the checksum, which tells nothing new
    shown = hint.rpartition("_")[2]
    assert random_part.startswith(shown)
    assert len(shown) <= 4
    hidden = (len(random_part) - len(shown)) * math.log2(len(BASE62))
    wanted = [e for e in calls.case.expected.also if e.startswith("hidden_entropy_bits")]
    assert all(hidden >= float(each.partition(">=")[2]) for each in wanted)


def _bench(calls: Calls, number: str) -> None:
    """Measure what a decision costs, warm and cold; the fewest of some tries, since others work."""
    value = b"Bearer " + _issued(calls).secret.reveal().encode()
    count = int(number) if calls.tools.full else min(int(number), 1_000)
    best = math.inf
    for _ in range(5):
        started = time.process_time()
        for _ in range(count):
            calls.guard.authorize("GET", "/", None, value)
        best = min(best, (time.process_time() - started) / count)
    wanted = [e for e in calls.case.expected.also if e.startswith("cpu_us_per_verify")]
    assert all(best * 1e6 <= float(each.partition("<=")[2]) for each in wanted), f"{best * 1e6:.0f}"


def _cache_keys(calls: Calls) -> None:
    """Look at what the cache is indexed by: as many bytes of a keyed hash, nothing of a header."""
    identity = _identity(calls)
    entries = calls.guard.engine.cache.entries
    assert entries
    for index in entries:
        assert isinstance(index, bytes)
        assert len(index) == 15
    calls.texts += [repr(index) for index in entries]
    del identity


def _compare(calls: Calls, one: str, other: str) -> None:
    """Compare two texts, neither of which has to be ASCII."""
    assert Secret(one) != Secret(other)
    assert Secret(one) == Secret(one)
    for text in (one, other):
        decision = calls.guard.authorize("GET", "/", None, b"Bearer " + text.encode())
        assert not isinstance(decision, Allowed)


_KEYWORD = re.compile(r"(\w+)=('[^']*'|\{[^}]*\}|[^,]+)")
_LIMITS = {"ips": "networks"}


def _create_child(calls: Calls, arguments: str) -> None:
    """Issue a key under another one, and ask for what the case asks.

    A limit that is not said at issue is the parent's, and "not limited" is said by silence; so what
    says nothing is asked for by a change of the child.
    """
    given = {name: ast.literal_eval(value) for name, value in _KEYWORD.findall(arguments)}
    given.pop("parent", None)
    parent = calls.issue(limits=_renamed(given.pop("parent_restrictions", {})))
    calls.facts["made"] = 1
    limits = _renamed(given)
    silent = {
        name: value for name, value in limits.items() if not Limits.read({name: value}).clauses
    }
    child = calls.issue(
        parent=parent.id, limits={k: v for k, v in limits.items() if k not in silent}
    )
    calls.facts["made"] = 2
    assert parent.key.limits.covers(child.key.limits), "the child is wider than its parent"
    if silent:
        calls.guard.update(child.id, limits=silent)


def _renamed(limits: dict[str, Any]) -> dict[str, Any]:
    return {_LIMITS.get(name, name): value for name, value in limits.items()}


def _spans(_calls: Calls, _pattern: str) -> None:
    msg = "telemetry"
    raise ComesLaterError(msg)


PYTHON: dict[str, Callable[..., None]] = {
    r"(repr|str|asdict|json|pickle|copy|vars)\((\w+)\)": _shown,
    r"f'\{(\w+)\}'": _formatted,
    r"authenticate\(([A-Z]+-\d+)\)": _authenticate,
    r"authenticate_all_cases\(level=DEBUG\)": _all_cases,
    r"sql_echo\(authenticate\)": _echo,
    r"sql_integrity_error\(create\)": _integrity,
    r"display_form\(issued\)": _display,
    r"bench\(authenticate, n=(\d+)\)": _bench,
    r"assert_cache_keys_are_digests\(\)": _cache_keys,
    r"compare\('([^']*)', '([^']*)'\)": _compare,
    r"create_child\((.*)\)": _create_child,
    r"(hypothesis: .*)": walk,
    r"otel_\w+\((.*)\)": _spans,
}
