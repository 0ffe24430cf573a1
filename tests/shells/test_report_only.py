"""Keys that only report: requests pass that their limits would refuse, and each one is counted."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

ROUTES = [Route("/scoped", scopes="reports"), Route("/chat", model="chat")]


def reporting(site: Site, **limits: Any) -> Any:
    """Return a key that reports."""
    return site.issue(limits=Limits(**limits), rights=["report_only"])


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the lines about requests that would have been refused."""
    said = [
        json.loads(record.getMessage())
        for record in caplog.records
        if record.name.endswith("denials")
    ]
    return [line for line in said if line["event"] == "would_refuse"]


@pytest.mark.parametrize(
    ("limits", "sent", "reason"),
    [
        ({"networks": "10.0.0.1"}, {}, "network_not_allowed"),
        ({"methods": "PUT"}, {}, "method_not_allowed"),
        ({"read_only": True}, {"method": "POST"}, "method_not_allowed"),
        ({}, {"path": "/scoped"}, "insufficient_scope"),
        ({"models": {"other": "read"}}, {"path": "/chat"}, "model_not_allowed"),
        ({"hours": []}, {}, "outside_time_window"),
    ],
    ids=["network", "method", "read only", "scope", "model", "hours"],
)
def test_request_passes_and_is_reported_every_time(
    make_in_memory: Callable[..., Site],
    caplog: pytest.LogCaptureFixture,
    limits: dict[str, Any],
    sent: dict[str, Any],
    reason: str,
):
    """The first in a line of the log; all of them in the totals."""
    caplog.set_level(logging.INFO)
    site = make_in_memory(routes=ROUTES)
    key = reporting(site, **limits)
    for _ in range(3):
        assert site.request(key=key, **sent).status == 200
    assert len(site.served) == 3
    (line,) = lines(caplog)
    assert (line["reason"], line["key"], line["total"]) == (reason, key.id, 1)
    site.clock.advance(seconds=11)
    assert site.request(key=key, **sent).status == 200
    assert [line["total"] for line in lines(caplog)] == [1, 4]


def test_what_must_never_pass_does_not(make_in_memory: Callable[..., Site]):
    """Another tenant, what is not known, and a key that is dead."""
    site = make_in_memory(routes=[Route("/of/{tenant}"), Route("/m", tenant="~", model="body(m)")])
    key = reporting(site, models={"chat": "read"})
    assert site.request(path="/of/evil", key=key).problem["reason"] == "tenant_mismatch"
    assert site.request(path="/other", key=key).problem["reason"] == "tenant_unresolved"
    assert site.request(path="/m", key=key).problem["reason"] == "model_unresolved"
    site.guard.revoke(key.id)
    assert site.request(path="/of/acme", key=key).status == 401
    assert site.served == []
