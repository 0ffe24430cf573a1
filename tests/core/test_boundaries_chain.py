"""Edges of chains and terms that only a close look tells from their neighbours."""

from __future__ import annotations

from keybound.core.chain import Chain
from keybound.core.limits import Limits
from keybound.core.terms import ChainPolicy
from keybound.testing.records import a_group, a_key


def chain_of(key, *above, **policy):
    """Return a chain."""
    return Chain(key, {node.id: node for node in above}, ChainPolicy(**policy))


def test_a_node_that_only_reports_is_limited_in_models_all_the_same():
    """A body is read for it, since a model that is not known is refused by everybody."""
    models = Limits(models={"m": "read"})
    group = a_group("group_1", limits=models, rights=("report_only",))
    alone = a_key("key_1", limits=models, rights=("report_only",))
    assert chain_of(alone).limited_in_models
    assert chain_of(a_key("key_2", groups=("group_1",)), group).limited_in_models
    assert not chain_of(a_key("key_3")).limited_in_models
