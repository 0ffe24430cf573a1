"""The real decision is the one that the design says, over random nodes, requests and clocks."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from keybound.core.keys import KeyFormat
from keybound.core.limits import DIMENSIONS
from keybound.core.reasons import Reason
from tests.oracle.asking import requests_to, worlds
from tests.oracle.evaluator import judge
from tests.oracle.real import Below, Real
from tests.oracle.worlds import START, limits_of_a_node, once_in

if TYPE_CHECKING:
    from collections.abc import Iterator

LATER = st.sampled_from([0, 0, 0, 1, 50, 60])
"""Seconds that pass before a request."""

UNREACHED = {
    Reason.ROTATED,  # nothing is rotated yet
    Reason.RATE_LIMITED,  # nothing is counted yet
    Reason.QUOTA_EXCEEDED,
}
"""Reasons that no decision has so far."""

RARE = 5
"""How many of the others may be missing among a few hundred requests."""


@contextmanager
def site() -> Iterator[None]:
    """Let a site have a dimension of its own, as ``register`` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DIMENSIONS, "below", Below)
        yield


@contextmanager
def built(world):
    """Yield a world as keybound has it."""
    with site():
        real = Real(world)
        yield real
        real.close()


@settings(max_examples=settings().max_examples * 3)
@given(st.data(), worlds())
def test_every_decision_is_that_of_the_design(data, world):
    """Allowed or not, for which reason, and by which node; also warm, later, and after changes."""
    with built(world) as real:
        for _ in range(data.draw(st.integers(1, 6), label="requests")):
            real.clock.advance(seconds=data.draw(LATER, label="seconds pass"))
            if data.draw(once_in(4), label="change"):
                change(data, real)
            request = data.draw(requests_to(world), label="request")
            expected = judge(world, request, real.clock.wall())
            assert real.ask(request) == expected
            assert real.ask_warm(request) in {expected, None}


def change(data, real):
    """Let a node have other limits, or another state."""
    node = dict(data.draw(st.sampled_from([*real.world["nodes"].values()]), label="node"))
    if data.draw(st.booleans(), label="its limits"):
        node["limits"] = data.draw(limits_of_a_node(key=node["kind"] == "key"))
    else:
        node["disabled"] = not node.get("disabled")
    real.put(node)


def test_the_worlds_are_about_something():
    """Both outcomes are frequent, and every reason that there can be occurs."""
    seen: Counter[str] = Counter()

    @settings(max_examples=400, derandomize=True, database=None, phases=[Phase.generate])
    @given(st.data(), worlds())
    def count(data, world):
        for name, node in world["nodes"].items():
            if node["kind"] == "key":
                node["secret"] = secret(name)
        world["unknown"] = secret("unknown")
        for _ in range(4):
            request = data.draw(requests_to(world))
            outcome, reason, _ = judge(world, request, START + data.draw(LATER))
            seen[reason or outcome] += 1

    count()
    possible = {reason.value for reason in set(Reason) - UNREACHED}
    assert 0.2 < seen["allowed"] / (seen.total() - seen["open"]) < 0.8, seen
    assert seen.keys() <= possible | {"allowed", "open"}, seen
    assert len(possible - seen.keys()) <= RARE, seen


def secret(name):
    """Return a key that is told by a name."""
    return KeyFormat().generate(name.encode().ljust(32, b"\1")).reveal()
