"""Edges of chains and terms that only a close look tells from their neighbours."""

from __future__ import annotations

import pytest

from keybound.core import terms
from keybound.core.chain import Chain
from keybound.core.limits import Hours, Limits
from keybound.core.reasons import Reason
from keybound.core.terms import ChainPolicy, terms_of
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


def test_whoever_may_look_at_a_model_makes_a_chain_limited_in_models():
    """Hours do not; a dimension of a site's own may."""

    class Own(Hours):
        """Whatever a site thinks of."""

    hours = Limits(hours="daily 08:00-18:00 UTC")
    (own,) = [Own(clause.windows) for clause in hours if isinstance(clause, Hours)]
    assert not chain_of(a_key("key_1", limits=hours)).limited_in_models
    assert chain_of(a_key("key_1", limits=Limits.of_clauses([own]))).limited_in_models


@pytest.mark.parametrize("rights", [(), ("report_only",)])
def test_only_what_a_node_softens_itself_is_reported(rights):
    """Another reason of the same check is not, nor any check of a node that is gone."""
    chain = chain_of(a_key("key_1", limits=Limits(networks="::1"), rights=rights, groups=("g",)))
    named = {(check.node, check.clause.dimension): check for check in chain.checks}
    network = named["key_1", "networks"]
    assert chain.reports(network, Reason.NETWORK_NOT_ALLOWED) is bool(rights)
    assert chain.reports(network, Reason.NETWORK_UNKNOWN) is False
    gone = named["g", "state"]
    assert chain.reports(gone, Reason.REVOKED) is False
    assert chain.reports(network._replace(node="g"), Reason.NETWORK_NOT_ALLOWED) is False


def test_identities_of_few_tenants_are_one_object_each():
    """Of more than there is room for, all are forgotten before the next is made."""
    chain = chain_of(a_key("key_1"))
    first = chain.identity("0")
    for tenant in range(64):
        chain.identity(str(tenant))
    assert chain.identity("0") is first
    chain.identity("one more")
    assert chain.identity("0") is not first
    assert chain.identity("0") == first


def test_what_limits_come_to_is_worked_out_once_for_each_tenant(monkeypatch):
    """There is room for so many; then all are forgotten."""
    monkeypatch.setattr(terms, "TERMS_MAX", 10)
    limits, policy = Limits(methods="GET"), ChainPolicy()
    keys = [a_key(f"key_{place}", tenant=f"t{place}", limits=limits) for place in range(11)]
    first = terms_of(keys[0], policy)
    for key in keys[:-1]:
        terms_of(key, policy)
    assert terms_of(keys[0], policy) is first
    terms_of(keys[-1], policy)
    assert terms_of(keys[0], policy) is not first
