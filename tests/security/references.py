"""Requests that other cases name, for a catalogue that does not hold them itself."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.security.cases import BEARER, HOST, OWN, PEER, load
from tests.security.outcomes import NotReplayableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.security.cases import Case

_WITH_KEY = {"method": "GET", "path": "/v1/chat", "headers": [HOST, BEARER], "client": PEER}

REQUESTS: dict[str, dict[str, Any]] = {
    "HDR-001": _WITH_KEY,
    "HDR-025": {**_WITH_KEY, "headers": [HOST, ["authorization", "Bearer {{K1:chop_last}}\u00e9"]]},
    "HDR-053": {**_WITH_KEY, "headers": [HOST, ["authorization", "Bearer {{RANDOM_WELLFORMED}}"]]},
}
"""A good key, something that is none, and one that was never issued."""


@cache
def _own() -> Mapping[str, Case]:
    return load(OWN)


def request_of(name: str, cases: Mapping[str, Case]) -> Mapping[str, Any]:
    """Return the request of a case: of this catalogue, of our own, or one that stands here."""
    if name in cases:
        return cases[name].request
    if name in REQUESTS:
        return REQUESTS[name]
    ours = _own()
    if name in ours:
        return ours[name].request
    msg = f"nobody knows the request of {name}"
    raise NotReplayableError(msg)
