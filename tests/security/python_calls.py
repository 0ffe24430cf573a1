"""The calls of Python that cases name, as functions."""

from __future__ import annotations

import ast
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keybound import Limits
from keybound.core.decision import Allowed
from keybound.core.errors import KeyboundError
from keybound.core.keys import BASE62
from keybound.core.secret import Secret
from tests.security import spans
from tests.security.outcomes import ComesLaterError, NotReplayableError
from tests.security.references import request_of
from tests.security.sending import sent
from tests.security.shown import identity_of, issued_of
from tests.security.subjects import pure
from tests.security.walks import walk
from tests.security.worlds import Place, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.calls import Calls


def _place(calls: Calls, store: str = "memory") -> Place:
    way = Way(store=store)
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


def _all_cases(calls: Calls, level: str | None) -> None:
    """Send the requests of all cases; the log is looked into by whoever listens to it."""
    logging.getLogger("keybound").setLevel(level or "DEBUG")
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


def _echo(calls: Calls, what: str) -> None:
    """Do something over SQL while every statement and its parameters are logged."""
    before = logging.getLogger("sqlalchemy.engine").level
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    place = _place(calls, "sqlite")
    try:
        if what == "authenticate":
            pure(place, sent(request_of("HDR-001", calls.tools.cases), place.secrets))
        else:
            issued = place.guard.issue(name="a key", tenant="acme")
            calls.secrets.append(issued.secret.reveal())
            place.guard.revoke(issued.id)
    finally:
        place.close()
        logging.getLogger("sqlalchemy.engine").setLevel(before)


def _stored(calls: Calls) -> None:
    """Look into all that a store wrote of a key: nothing of it is the key."""
    place = _place(calls, "sqlite")
    try:
        issued = place.guard.issue(name="a key", tenant="acme")
        calls.secrets.append(issued.secret.reveal())
    finally:
        place.close()
    files = calls.tools.folder.glob(f"{Path(place.store.location).name}*")
    calls.texts += [file.read_bytes().decode("latin-1") for file in files]


def _integrity(calls: Calls, _what: str) -> None:
    """Write two keys of one secret: the store refuses, and says which keys, not which secret."""
    from keybound.testing.records import a_key, commit, new

    place = _place(calls, "sqlite")
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


def _display(calls: Calls, _what: str) -> None:
    """Count what stays hidden when the hint is shown."""
    issued = issued_of(calls)
    secret, hint = issued.secret.reveal(), issued.key.hint
    random_part = secret.rpartition("_")[2][:-6]  # without the checksum, which tells nothing new
    shown = hint.rpartition("_")[2]
    assert random_part.startswith(shown)
    assert len(shown) <= 4
    hidden = (len(random_part) - len(shown)) * math.log2(len(BASE62))
    wanted = [e for e in calls.case.expected.also if e.startswith("hidden_entropy_bits")]
    assert all(hidden >= float(each.partition(">=")[2]) for each in wanted)


def _bench(calls: Calls, what: str, number: str) -> None:
    """Measure what a decision costs, warm and cold; the fewest of some tries, since others work."""
    secret = issued_of(calls).secret.reveal()
    value = b"Bearer " + _PRESENTED[what](secret).encode()
    count = int(number) if calls.tools.full else min(int(number), 1_000)
    best = math.inf
    for _ in range(5):
        started = time.process_time()
        for _ in range(count):
            calls.guard.authorize("GET", "/", None, value)
        best = min(best, (time.process_time() - started) / count)
    wanted = [e for e in calls.case.expected.also if e.startswith("cpu_us_per_verify")]
    assert all(best * 1e6 <= float(each.partition("<=")[2]) for each in wanted), f"{best * 1e6:.0f}"


_PRESENTED: dict[str, Callable[[str], str]] = {
    "authenticate": str,
    "deny": lambda secret: secret.swapcase(),
    "malformed": lambda secret: secret[:-1],
    "reject": lambda secret: secret.swapcase(),
    "verify": str,
}


def _cache_keys(calls: Calls) -> None:
    """Look at what the cache is indexed by: as many bytes of a keyed hash, nothing of a header."""
    identity = identity_of(calls)
    entries = calls.guard.engine.cache.entries
    assert entries
    for index in entries:
        assert isinstance(index, bytes)
        assert len(index) == 15
    calls.texts += [repr(index) for index in entries]
    del identity


def _compare(calls: Calls, one: str, other: str) -> None:
    """Compare two texts, neither of which has to be ASCII."""
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) == Secret(one)
    for text in (one, other):
        decision = calls.guard.authorize("GET", "/", None, b"Bearer " + text.encode())
        assert not isinstance(decision, Allowed)


_LIMITS = {"ips": "networks"}
_PLAIN = frozenset({"name", "tenant", "owner", "groups", "role"})


def _create_child(calls: Calls, arguments: str) -> None:
    """Issue a key under another one, and ask for what the case asks.

    A limit that is not said at issue is the parent's, and "not limited" is said by silence; so what
    says nothing is asked for by a change of the child.
    """
    call = ast.parse(f"create_child({arguments})", mode="eval").body
    assert isinstance(call, ast.Call)
    given = {each.arg or "": ast.literal_eval(each.value) for each in call.keywords}
    named = given.pop("parent", "K1")
    parent = calls.issue(limits=_renamed(given.pop("parent_restrictions", {})))
    calls.facts["made"] = 1
    if not given.pop("parent_enabled", True):
        calls.guard.disable(parent.id)
    options = {name: given.pop(name) for name in _PLAIN & given.keys()}
    limits = _renamed(given)
    silent = {
        name: value for name, value in limits.items() if not Limits.read({name: value}).clauses
    }
    child = calls.issue(
        parent=parent.id if named == "K1" else named,
        limits={k: v for k, v in limits.items() if k not in silent},
        **options,
    )
    calls.facts["made"] = 2
    assert parent.key.limits.covers(child.key.limits), "the child is wider than its parent"
    if silent:
        calls.guard.update(child.id, limits=silent)


def _renamed(limits: dict[str, Any]) -> dict[str, Any]:
    return {_LIMITS.get(name, name): value for name, value in limits.items()}


PYTHON: dict[str, Callable[..., None]] = {
    r"authenticate\(([A-Z]+-\d+)\)": _authenticate,
    r"authenticate_all_cases\((?:level=(\w+))?(?:, .*)?\)": _all_cases,
    r"sql_echo\((authenticate|create|issue|revoke|update)\)": _echo,
    r"sql_integrity_error\((create|issue|update)\)": _integrity,
    r"(?:dump|scan)_(?:db|database|sql|store)\(\)": _stored,
    r"(?:db|database|sql|store)_(?:dump|scan|rows|columns)\(\)": _stored,
    r"display_(?:form|prefix)\((issued|record|key)\)": _display,
    rf"bench\(({'|'.join(_PRESENTED)}), n=(\d+)\)": _bench,
    r"assert_cache_keys_are_digests\(\)": _cache_keys,
    r"compare\(b?'([^']*)', b?'([^']*)'\)": _compare,
    r"create_child\((.*)\)": _create_child,
    r"(hypothesis: .*)": walk,
    r"otel_\w+\((.*)\)": spans.told,
}
"""Calls that have a function of their own. Any other one is an expression over what is shown."""
