"""Changes are told wherever Redis is: behind Sentinels, and in a Cluster."""

from __future__ import annotations

import time

import pytest

from keybound.core.decision import Allowed
from tests.caches.conftest import wait_until

FAR = 60.0
"""Seconds between two syncs: what is heard sooner was told."""


@pytest.mark.parametrize("place", ["watched", "nodes"])
def test_a_revoked_key_is_heard_of_long_before_the_next_sync(place, new_fleet, request):
    """Whichever node the change was written to, and whichever is listened to."""
    fleet = new_fleet(request.getfixturevalue(place).url())
    settings = {"background": True, "revoke_within": FAR * 3, "sync_every": FAR}
    first, other = fleet.join(**settings), fleet.join(**settings)
    keys = [first.issue(name="CI") for _ in range(6)]
    for key in keys:
        assert isinstance(other.ask(key), Allowed)
    time.sleep(0.5)  # until it listens
    for key in keys:
        first.revoke(key.id)
        wait_until(lambda key=key: not isinstance(other.ask(key), Allowed), within=3)
