"""What a receipt says of a change where there is no shared cache."""

from __future__ import annotations

import pytest

from keybound.core.edits import activation
from keybound.core.lifecycle import edit
from keybound.testing.records import a_digest, a_key, commit, new


@pytest.mark.parametrize(("enabled", "dry_run"), [(True, False), (False, True), (False, False)])
def test_a_change_is_announced_to_nobody(world, enabled, dry_run):
    """Neither one that changes nothing, nor one that is only tried, nor any other."""
    commit(world.store, new(a_key("key_1"), a_digest(1)))
    receipt = world.do(edit(world.site, "key_1", activation(enabled=enabled), dry_run=dry_run))
    assert receipt.announced is False
