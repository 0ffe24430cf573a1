"""Many requests at once, which nobody may notice in memory, in Redis, or in what others wait for.

The numbers of a catalogue are those of a long run. Here they are divided, so that a case takes a
second; ``--full`` sends all of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from keybound.core.decision import Allowed
from keybound.testing.records import a_key, commit, new
from tests.security.keyring import MARK
from tests.security.measured import measured
from tests.security.outcomes import NotReplayableError
from tests.security.sending import altered
from tests.security.subjects import decide, pure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.outcomes import Outcome
    from tests.security.replay import Replay
    from tests.security.sending import Sent
    from tests.security.worlds import Place

REQUESTS_MAX = 2_000
"""Requests of a flood, unless all are asked for."""

EVERY = 100
"""How often a request of a flood is a good one, where a case asks for those and says no more."""

A_SECOND = 500
"""Requests of a flood a second, by the clock of the one that is flooded."""


def flood(run: Replay) -> Outcome:
    """Send a flood, and return what became of one request of it."""
    how: dict[str, Any] = dict(run.each.tests["test.flood"])
    place = run.place
    kind = next((name for name in _KINDS if name in how), "")
    size = how.pop(kind, None)
    asked = any(each.startswith("valid_requests_ok") for each in run.case.expected.also)
    every = int(how.pop("plus_valid_every", EVERY if asked and kind not in _VALID else 0))
    requests = int(how.pop("requests", size or 0))
    if how or size is None:
        msg = f"nobody knows a flood with {', '.join(how) or 'nothing'}"
        raise NotReplayableError(msg)
    number = requests if run.tools.full else min(requests, REQUESTS_MAX)
    if kind == "keys_with_same_prefix":
        _plant(place, int(size) if run.tools.full else min(int(size), REQUESTS_MAX))
    if every:
        commit(place.store, new(a_key("valid", tenant="acme"), place.secrets.digest("valid")))
    taken: list[float] = []
    good: list[bool] = []
    last: Any = None
    with measured(place) as costs:
        for at in range(number):
            valid = bool(every) and at % every == 0
            value = _value(place, kind, valid=valid)
            lines = [(k, value if k == b"authorization" else v) for k, v in run.each.headers]
            each = altered(run.each, headers=lines)
            if kind in _VARIED and not valid:
                each = _VARIED[kind](each, at)
            place.clock.advance(seconds=1 / A_SECOND)
            started = time.thread_time()  # the machine may have others to serve
            decided = decide(place, each)
            taken.append(time.thread_time() - started)
            if valid or kind in _VALID:
                good.append(isinstance(decided, Allowed))
            if not valid:
                last = each
        outcome = pure(place, last)
    p99 = sorted(taken)[int(len(taken) * 0.99) - 1]
    outcome.facts = {**costs, "requests": number, "p99": p99}
    if good:
        outcome.facts["valid_ok"] = sum(good) / len(good)
    return outcome


def _value(place: Place, kind: str, *, valid: bool) -> bytes:
    secrets = place.secrets
    if valid:
        text = secrets.of("valid")
    elif kind == "keys_with_same_prefix":
        text = secrets.new(MARK[:4])
    elif kind == "same_unknown_key":
        text = secrets.of("UNKNOWN")
    elif kind == "malformed":
        text = secrets.new()[:20]
    elif kind == "oversized":
        text = secrets.new() * 1_000
    elif kind in _OF_K1:
        text = secrets.of("K1")
    else:
        text = secrets.new()
    if kind == "random_bad_checksum" and not valid:
        text = text[:-1] + ("A" if text[-1] != "A" else "B")
    return b"Bearer " + text.encode()


_OF_K1 = ("valid", "valid_key", "same_key", "disabled_key", "expired_key", "revoked_key")
"""Floods with the key of the case itself, whatever state that is in."""

_VALID = frozenset({"valid", "valid_key", "same_key"})
"""Those of them that are to be served."""


def _without_credentials(each: Sent, _at: int) -> Sent:
    lines = [(name, value) for name, value in each.headers if name != b"authorization"]
    return altered(each, headers=lines)


def _on_path(each: Sent, at: int) -> Sent:
    return altered(each, path=f"/v1/{at}", raw_path=b"/v1/%d" % at)


def _at_host(each: Sent, at: int) -> Sent:
    lines = [(k, b"h%d.api.test" % at if k == b"host" else v) for k, v in each.headers]
    return altered(each, headers=lines)


def _from_address(each: Sent, at: int) -> Sent:
    return altered(each, client=(f"198.18.{at // 256 % 256}.{at % 256}", 50_000))


_VARIED: dict[str, Callable[[Sent, int], Sent]] = {
    "missing": _without_credentials,
    "no_credentials": _without_credentials,
    "random_hosts": _at_host,
    "random_ips": _from_address,
    "random_paths": _on_path,
    "random_tenants": _at_host,
}
"""Floods that differ in something else than the key, which nobody knows either."""

_KINDS = (
    "random_keys",
    "random_bad_checksum",
    "random_good_checksum",
    "keys_with_same_prefix",
    "same_unknown_key",
    "malformed",
    "oversized",
    *_OF_K1,
    *_VARIED,
)


def _plant(place: Place, number: int) -> None:
    """Store keys whose hints are all the same."""
    puts = [
        new(a_key(f"same{at}", tenant="acme"), place.secrets.digest(f"same{at}"))
        for at in range(number)
    ]
    for at in range(0, len(puts), 500):
        commit(place.store, *puts[at : at + 500])
