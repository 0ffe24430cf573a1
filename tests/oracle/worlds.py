"""Random nodes of worlds as plain dictionaries, from alphabets so small that they often meet.

A world has ``settings``, ``routes`` (members of ``Route``), ``nodes`` by their ids, and perhaps its
store is ``down``. A node has a ``kind``, a ``tenant``, ``limits`` (layers, all of which hold, each
as people write them, moments in POSIX seconds), and perhaps ``secret``, ``parent``, ``groups``,
``disabled``, ``revoked``, ``report_only``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.oracle.steps import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

START = 1_767_225_600
"""When the clock of every world starts: 2026-01-01, in UTC."""

KEYS = ("key_a", "key_b", "key_c")
GROUPS = ("group_a", "group_b")


def mostly(usual: Sequence[Any], rare: Sequence[Any], *, rarely: int) -> SearchStrategy[Any]:
    """Return what is usual but once in so many times: else nothing would ever be allowed.

    It is one choice among many, which costs much less than two.
    """
    times = -(-len(rare) * (rarely - 1) // len(usual))
    return st.sampled_from([*list(usual) * times, *rare])


def once_in(times: int) -> SearchStrategy[bool]:
    """Return what is true once in so many times; integers would prefer their ends."""
    return st.sampled_from([False] * (times - 1) + [True])


# ---------------------------------------------------------------------------------------- limits

HOURS = [
    *("wed 23:00-00:02 UTC", "thu 00:01-00:03 UTC", "daily 01:00-01:02 Europe/Zurich"),
    *("wed 23:58-24:00 UTC", "thu 00:00-00:01 UTC", "thu 02:00-00:01 UTC", "mon 00:00-24:00 UTC"),
    *("wed 19:00-19:02 America/New_York", "sun 23:00-12:00 Asia/Kolkata"),
]
"""Windows about the start of every world, which is a Thursday."""

VALUES: dict[str, SearchStrategy[Any]] = {
    "tenants": mostly(
        [["*"], ["t", "u"], ["t", "u/*"], ["*/v", "t"], ["*"]],
        [[], ["t/v"], ["u"], ["*/v", "x"]],
        rarely=4,
    ),
    "networks": mostly(
        [["10.0.0.0/8", "::1"], ["*"], ["10.0.0.0/28"], ["*", "!10.0.0.9"]],
        [[], ["10.0.0.9"], ["::/0"], ["10.0.0.0/8", "!10.0.0.0/30"], ["::ffff:10.0.0.9"]],
        rarely=4,
    ),
    "methods": mostly(
        [["GET", "POST"], ["GET", "HEAD", "POST", "DELETE"], ["*"]],
        [[], ["GET"], ["POST", "HEAD"], ["WEBSOCKET"]],
        rarely=4,
    ),
    "read_only": st.booleans(),
    "scopes": mostly(
        [["a", "b", "c"], ["a", "b"], ["a", "*"]], [[], ["a"], ["b"], ["*"]], rarely=4
    ),
    "models": mostly(
        [{"m": "write", "n": "read"}, {"*": "write"}, {"*": "read", "m": "write"}],
        [{"m": "read"}, {"n": "write"}, {"x": "write"}, {}, {"*": "read"}],
        rarely=4,
    ),
    "header_only": st.booleans(),
    "hours": mostly(
        [["daily 22:00-22:00 UTC"], ["thu 00:00-24:00 UTC", "*"], HOURS[:3]],
        [[], *([each] for each in HOURS)],
        rarely=3,
    ),
    "below": st.sampled_from(["/", "/", "/t", "/none"]),
}
"""For each dimension values, most of which permit most requests."""

ODD = [
    *({name: UNREADABLE} for name in ("lifetime", *VALUES) if name not in {"read_only", "below"}),
    *[{"nonsense": 1}] * 6,
    *[{"not_before": START + after} for after in (-1, 0, 1, 50)],
    *[{"expires_at": START + after} for after in (-1, 0, 1, 50)],
]
"""Limits that are not about requests: lifetimes, and what nobody can read."""

BOUNDED = [
    {"not_before": START - before, "expires_at": START + after}
    for before in (0, 1, 100)
    for after in (1, 50, 100)
]
"""Lifetimes that usually hold."""

DIMENSIONS = [(), (), *([name] for name in VALUES), *(("scopes", name) for name in VALUES)]


@st.composite
def layers(draw: DrawFn) -> dict[str, Any]:
    """Return one layer of limits, in few of the dimensions."""
    return {name: draw(VALUES[name]) for name in draw(st.sampled_from(DIMENSIONS))}


@st.composite
def limits_of_a_node(draw: DrawFn, *, key: bool) -> list[dict[str, Any]]:
    """Return the layers of a node; scopes are named, since without them a key has none."""
    layer = draw(layers())
    if key and not draw(once_in(8)):
        layer.setdefault("scopes", ["a", "b", "c"])
    more: dict[str, Any] = draw(mostly([{}, {}, {}, BOUNDED[2]], [*ODD, *BOUNDED], rarely=16))
    layer |= more
    # What cannot be read stands alone in its dimension: which of two is named is not said.
    again = UNREADABLE not in map(str, layer.values()) and draw(once_in(6))
    return [layer, draw(layers())] if again else [layer]


def lifetimes() -> SearchStrategy[dict[str, Any]]:
    """Return lifetimes, many of which hold."""
    return st.sampled_from([*BOUNDED, *ODD[-8:]])


# ----------------------------------------------------------------------------------------- nodes

STATES: list[dict[str, Any]] = [{"disabled": True}, {"revoked": True}]


@st.composite
def nodes(draw: DrawFn) -> dict[str, dict[str, Any]]:
    """Return three keys and two groups, above one another in every way, also in circles."""
    found: dict[str, dict[str, Any]] = {}
    for name in (*KEYS, *GROUPS):
        node: dict[str, Any] = {"id": name, "kind": name.partition("_")[0], "tenant": None}
        node["limits"] = draw(limits_of_a_node(key=node["kind"] == "key"))
        usual: list[dict[str, Any]] = [*[{}] * 6, {"report_only": True}]
        node |= draw(mostly(usual, STATES, rarely=40))
        if node["kind"] == "key":
            node["tenant"] = draw(mostly(["t"], ["u/v", None], rarely=10))
            if draw(st.booleans()):  # beside its home, where most routes are not about it
                node["limits"][0].setdefault("tenants", ["*"])
            several = [[], [*GROUPS], [*GROUPS[::-1]], ["group_gone"]]
            node["groups"] = draw(mostly([[], [GROUPS[0]], [GROUPS[1]]], several, rarely=12))
            later = [None, *KEYS[KEYS.index(name) + 1 :]]
            node["parent"] = draw(mostly(later, [*KEYS, "key_gone"], rarely=24))
        found[name] = node
    return found
