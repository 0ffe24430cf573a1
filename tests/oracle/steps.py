"""What every limit permits, one function for each dimension, in the order of the decision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from tests.oracle.reading import lies_in

Facts: TypeAlias = dict[str, Any]
Step: TypeAlias = Callable[[Any, Facts], str | None]

SEGMENTS_MAX = 32
UNREADABLE = "?"
"""What stands in a world for a stored limit that cannot be read."""


def header_only(value: bool, facts: Facts) -> str | None:  # noqa: FBT001 - a step
    """The key came in a header."""
    return "credential_not_allowed" if value and not facts["in_header"] else None


def tenants(patterns: list[str], facts: Facts) -> str | None:
    """A pattern covers the tenant that it names and all beneath it."""
    if not facts["tenant"]:
        return "tenant_unresolved"
    segments = facts["tenant"].split("/")
    unnameable = {"", ".", "..", "~"} & set(segments) or len(segments) > SEGMENTS_MAX
    for pattern in patterns:
        wanted = pattern.split("/")
        start = segments[: len(wanted)]
        deep_enough = len(start) == len(wanted) and not unnameable
        if deep_enough and all(
            want in {"*", have} for want, have in zip(wanted, start, strict=True)
        ):
            return None
    return "tenant_mismatch"


def networks(listed: list[str], facts: Facts) -> str | None:
    """The address lies in what is listed, and not in what is excluded."""
    if "*" in listed and not any(text.startswith("!") for text in listed):
        return None
    client = facts["client"]
    if client is None:
        return "network_unknown"
    inside = any(text == "*" or lies_in(client, text) for text in listed if text[0] != "!")
    outside = any(lies_in(client, text[1:]) for text in listed if text[0] == "!")
    return None if inside and not outside else "network_not_allowed"


def methods(names: list[str], facts: Facts) -> str | None:
    """The method is one of these, to the letter."""
    return None if "*" in names or facts["method"] in names else "method_not_allowed"


def read_only(value: bool, facts: Facts) -> str | None:  # noqa: FBT001 - a step
    """The request only reads."""
    return "method_not_allowed" if value and facts["access"] != "read" else None


def scopes(granted: list[str], facts: Facts) -> str | None:
    """Every scope that the route asks for is granted, by name or by what means all of them."""
    if facts["wildcard_scopes"] and "*" in granted:
        return None
    return None if set(facts["scopes"]) <= set(granted) else "insufficient_scope"


def hours(windows: list[str], facts: Facts) -> str | None:
    """The wall clock of a window's zone shows a time in it; it may end on the next day."""
    for window in windows:
        if window == "*":
            return None
        days, span, zone = window.split()
        start, end = [int(time[:2]) * 60 + int(time[3:]) for time in span.split("-")]
        length = (end - start - 1) % 1440 + 1
        local = datetime.fromtimestamp(facts["now"], ZoneInfo(zone))
        minute = local.hour * 60 + local.minute
        for day in range(7) if days == "daily" else [DAYS.index(days)]:
            if ((local.weekday() - day) * 1440 + minute - start) % 10_080 < length:
                return None
    return "outside_time_window"


DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def models(granted: dict[str, str], facts: Facts) -> str | None:
    """The model may be read, or written; ``*`` is every other one."""
    if granted == {"*": "write"}:
        return None
    if not facts["model"]:
        return "model_unresolved"
    access = granted.get(facts["model"], granted.get("*"))
    return None if access in {"write", facts["access"]} else "model_not_allowed"


def below(start: str, facts: Facts) -> str | None:
    """The site's own dimension: paths with this start."""
    return None if facts["path"].startswith(start) else "limit_invalid"


def nobodys(_value: Any, _facts: Facts) -> str:
    """Refuse: nobody knows this dimension."""
    return "limit_invalid"


STEPS: list[tuple[str, Step]] = [
    ("lifetime", nobodys),  # one that can be read is part of the state
    ("header_only", header_only),
    ("tenants", tenants),
    ("networks", networks),
    ("methods", methods),
    ("read_only", read_only),
    ("scopes", scopes),
    ("hours", hours),
    ("models", models),
    ("below", below),
    ("nonsense", nobodys),
]
"""What a request must pass once every node is alive, in this order, each over the whole chain."""

SOFTENED = {
    "network_not_allowed",
    "method_not_allowed",
    "insufficient_scope",
    "outside_time_window",
    "model_not_allowed",
}
"""What a node that only reports lets pass."""
