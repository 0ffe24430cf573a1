"""Keys in the shared cache that stand under a parent alone, or in a group alone."""

from __future__ import annotations

import pytest

from keybound.core.coherence import look_up
from keybound.testing.records import a_digest, a_group, a_key, commit, new
from tests.core.test_sharing import Place


@pytest.mark.parametrize("members", [{"parent": "key_1"}, {"groups": ("group_9",)}], ids=str)
def test_whatever_stands_above_a_key_is_looked_for(members):
    """A parent without groups, and a group without a parent: neither is taken for gone."""
    place, digest = Place(), a_digest(9)
    commit(place.store, new(a_group("group_9")))
    commit(place.store, new(a_key("key_9", **members), digest))
    place.find(place.worker(), digest)
    worker = place.worker()
    place.do(look_up(worker, digest, digest, lambda: (digest,)))
    found = worker.cache.entries[digest].chain
    assert all(node is not None for node in found.nodes.values())
    assert len(found.nodes) > 1
    assert all(isinstance(asked, int) for asked in place.asked), "the store was asked"
