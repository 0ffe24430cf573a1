"""The verbs of both guards, over every store: what they promise to the people who call them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keybound import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    LimitError,
    Limits,
    NotFoundError,
    Principal,
    Reason,
)
from keybound.core.decision import Allowed
from tests.core.heads import FakeHead


def test_an_issued_key_is_recognised_with_everything_it_was_issued_with(guard):
    """What was said at issue is what the application gets."""
    issued = guard.issue(
        name="CI",
        tenant="acme",
        owner="u_42",
        role="editor",
        limits=Limits(scopes=["rest", "ui"]),
        expires_in="90d",
        metadata={"plan": "gold", "tags": ["x"]},
    )
    identity = guard.ask(issued, path="/acme/invoice").identity
    assert (identity.key_id, identity.name, identity.tenant) == (issued.id, "CI", "acme")
    assert (identity.owner, identity.role, identity.environment) == ("u_42", "editor", "live")
    assert identity.scopes == {"rest", "ui"}
    assert identity.request_tenant == "acme"
    assert identity.metadata == {"plan": "gold", "tags": ("x",)}
    assert identity.expires_at - datetime.now(UTC) > timedelta(days=89)


def test_the_secret_is_in_the_answer_to_issue_and_nowhere_else(guard):
    """Neither what is shown nor what is listed holds the key or its digest."""
    issued = guard.issue(name="CI", tenant="acme")
    secret = issued.secret.reveal()
    printed = repr(issued) + repr(guard.show(issued.id)) + repr(guard.list())
    assert secret not in printed
    assert secret[12:] not in printed
    assert guard.show(issued.id).node.hint == secret[:12]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": ""}, "name: has 0 characters"),
        ({"name": "two\nlines"}, "name: has characters that cannot be seen"),
        ({"name": "x" * 201}, "name: has 201 characters"),
        ({"name": 7}, "name: is int"),
        ({"name": "x", "tenant": "a//b"}, "tenant"),
        ({"name": "x", "tenant": "*"}, "tenant"),
        ({"name": "x", "owner": " "}, "owner"),
        ({"name": "x", "expires_in": "soon"}, "expires_in: 'soon' is not a duration"),
        ({"name": "x", "rights": ["root"]}, "rights: root unknown"),
        ({"name": "x", "rights": "keys:*"}, "rights"),
        ({"name": "x", "groups": "group_1"}, "groups"),
        ({"name": "x", "metadata": {"a": object()}}, "metadata: is not JSON"),
        ({"name": "x", "metadata": {"a": "b" * 9_000}}, "metadata: has 9,008 bytes"),
        ({"name": "x", "metadata": ["a"]}, "metadata"),
        ({"name": "x", "limits": {"modles": []}}, "did you mean 'models'"),
        ({"name": "x", "limits": {"models": None}}, "models"),
        ({"name": "x", "limits": ["models"]}, "limits: are list"),
    ],
)
def test_bad_input_names_the_field_and_nothing_is_issued(guard, asked, said):
    """A value that cannot be used is refused before anything is written."""
    asked.setdefault("tenant", "acme")
    with pytest.raises((InputError, LimitError)) as caught:
        guard.issue(**asked)
    assert said in str(caught.value)
    assert guard.list() == ()


def test_a_key_without_any_tenant_is_refused_where_routes_are_about_tenants(guard):
    """With tenancy, a key has a home tenant or an explicit '*'."""
    with pytest.raises(InputError, match="name its tenant"):
        guard.issue(name="nowhere")
    everywhere = guard.issue(name="everywhere", limits=Limits(tenants="*"))
    assert isinstance(guard.ask(everywhere, path="/anyone/x"), Allowed)


def test_a_restriction_only_ever_narrows(guard):
    """What was permitted may end, what was not permitted stays so."""
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(models={"message": "read"}))
    guard.restrict(issued.id, Limits(models={"message": "write", "device": "write"}))
    assert guard.ask(issued, path="/acme/message").__class__ is Allowed
    denied = guard.ask(issued, path="/acme/device")
    assert denied.reason is Reason.MODEL_NOT_ALLOWED
    guard.restrict(issued.id, {"scopes": ["a", "b"]})
    assert guard.ask(issued, path="/scoped").reason is Reason.INSUFFICIENT_SCOPE
    guard.restrict(issued.id, {"tenants": ["acme", "globex"]})
    assert guard.ask(issued, path="/globex/message").reason is Reason.TENANT_MISMATCH


def test_an_update_replaces_the_limits_it_names_and_keeps_the_others(guard):
    """'*' takes a limit away, anything else replaces it, and what is not named stays."""
    limits = Limits(models={"message": "read"}, methods=["GET"], networks=["203.0.113.0/24"])
    issued = guard.issue(name="CI", tenant="acme", limits=limits)
    guard.update(issued.id, limits={"models": "*", "methods": ["GET", "POST"]}, name="new")
    stored = guard.show(issued.id).node
    assert stored.name == "new"
    assert stored.limits == Limits(methods=["GET", "POST"], networks=["203.0.113.0/24"])
    guard.update(issued.id, expires_in="1d", owner=None, metadata={"a": 1})
    assert guard.show(issued.id).node.limits.of("lifetime")
    guard.update(issued.id, limits={"expires_at": "*"})
    assert not guard.show(issued.id).node.limits.of("lifetime")
    guard.update(issued.id, limits=Limits(networks=["10.0.0.0/8"]))
    assert guard.show(issued.id).node.limits == Limits(
        methods=["GET", "POST"], networks=["10.0.0.0/8"]
    )


def test_a_disabled_key_can_be_enabled_and_a_revoked_one_cannot(guard):
    """Suspending ends with enabling, revoking never ends."""
    issued = guard.issue(name="CI", tenant="acme")
    guard.disable(issued.id)
    assert guard.ask(issued, path="/acme/x").reason is Reason.DISABLED
    guard.enable(issued.id)
    assert isinstance(guard.ask(issued, path="/acme/x"), Allowed)
    guard.revoke(issued.id)
    assert guard.ask(issued, path="/acme/x").reason is Reason.REVOKED
    with pytest.raises(InputError, match="revoked"):
        guard.enable(issued.id)
    assert guard.ask(issued, path="/acme/x").reason is Reason.REVOKED


def test_a_receipt_says_when_the_change_holds_everywhere(guard):
    """Every change is one revision, with the moment after which no worker accepts the old state."""
    issued = guard.issue(name="CI", tenant="acme")
    before = datetime.now(UTC)
    receipt = guard.revoke(issued.id)
    assert receipt.rev == issued.receipt.rev + 1
    assert timedelta(seconds=4) < receipt.effective_by - before < timedelta(seconds=7)
    assert receipt.announced is False
    assert guard.revoke(issued.id).rev == receipt.rev, "revoking twice changes nothing"


def test_a_child_can_never_do_more_than_its_parent(guard):
    """Asking for more is refused at issue, naming the dimension; leaving out takes it over."""
    limits = Limits(models={"message": "read"}, networks=["203.0.113.0/24"], scopes=["a"])
    parent = guard.issue(name="parent", tenant="acme", owner="u", limits=limits, expires_in="1d")
    wider = ({"models": {"device": "read"}}, {"networks": ["203.0.0.0/16"]}, {"scopes": ["b"]})
    for asked in wider:
        with pytest.raises(ExceedsCeilingError, match=next(iter(asked))):
            guard.issue(name="child", parent=parent.id, limits=asked)
    for more in ({"tenant": "globex"}, {"expires_in": "2d"}, {"rights": ["keys:read"]}):
        with pytest.raises(ExceedsCeilingError):
            guard.issue(name="child", parent=parent.id, **more)
    child = guard.issue(name="child", parent=parent.id, limits={"networks": ["203.0.113.7"]})
    assert (child.key.owner, child.key.tenant, child.key.issued_by) == ("u", "acme", parent.id)
    assert child.key.limits.of("models") == limits.of("models")
    assert not child.key.limits.of("scopes"), "scopes are only had by name"
    assert guard.ask(child, path="/acme/message").identity.scopes == frozenset()


def test_what_happens_to_a_parent_happens_to_its_children(guard):
    """A child is checked against its parent on every request, not only at issue."""
    parent = guard.issue(name="parent", tenant="acme")
    child = guard.issue(name="child", parent=parent.id)
    assert isinstance(guard.ask(child, path="/acme/x"), Allowed)
    guard.restrict(parent.id, {"methods": ["POST"]})
    denied = guard.ask(child, path="/acme/x")
    assert (denied.reason, denied.check.node) == (Reason.METHOD_NOT_ALLOWED, parent.id)
    guard.revoke(parent.id)
    denied = guard.ask(child, path="/acme/x")
    assert (denied.reason, denied.check.node) == (Reason.REVOKED, parent.id)
    with pytest.raises(InputError, match="parent"):
        guard.issue(name="late", parent=parent.id)


def test_a_group_limits_and_suspends_all_its_keys(guard):
    """Limits and state of a group hold for every key in it, at once."""
    group = guard.create_group(name="partners", limits=Limits(read_only=True)).node
    first = guard.issue(name="1", tenant="acme", groups=[group.id])
    second = guard.issue(name="2", tenant="acme", groups=[group.id])
    assert guard.ask(first, "POST", "/acme/x").reason is Reason.METHOD_NOT_ALLOWED
    assert isinstance(guard.ask(second, path="/acme/x"), Allowed)
    guard.disable(group.id)
    for key in (first, second):
        denied = guard.ask(key, path="/acme/x")
        assert (denied.reason, denied.check.node) == (Reason.DISABLED, group.id)
    assert [node.id for node in guard.list(kind="group")] == [group.id]
    assert set(guard.show(first.id).above) == {group.id}


def test_changing_a_child_cannot_lift_it_above_its_parent(guard):
    """An update of a child is held to the same ceilings as its issue; narrowing always works."""
    parent = guard.issue(name="p", tenant="acme", limits=Limits(methods=["GET"]))
    child = guard.issue(name="c", parent=parent.id)
    with pytest.raises(ExceedsCeilingError, match="methods"):
        guard.update(child.id, limits={"methods": ["GET", "POST"]})
    with pytest.raises(ExceedsCeilingError, match="methods"):
        guard.update(child.id, limits={"methods": "*"})
    guard.restrict(child.id, {"networks": ["203.0.113.7"]})


def test_nobody_overwrites_a_change_they_have_not_seen(guard):
    """``if_revision`` refuses when somebody else was faster, and nothing is written."""
    issued = guard.issue(name="CI", tenant="acme")
    rev = guard.show(issued.id).rev
    guard.update(issued.id, name="first", if_revision=rev)
    with pytest.raises(ConflictError, match="read it again"):
        guard.update(issued.id, name="second", if_revision=rev)
    assert guard.show(issued.id).node.name == "first"


def test_a_dry_run_says_what_would_be_and_writes_nothing(guard):
    """The answer to a dry run is the node as it would become."""
    issued = guard.issue(name="CI", tenant="acme")
    receipt = guard.update(issued.id, name="other", dry_run=True)
    assert receipt.node.name == "other"
    assert guard.show(issued.id).node.name == "CI"


def test_what_does_not_exist_is_named(guard):
    """Every verb on an unknown id says that there is no such key or group."""
    for verb in (guard.show, guard.enable, guard.disable, guard.revoke):
        with pytest.raises(NotFoundError, match="key_unknown"):
            verb("key_unknown")
    with pytest.raises(NotFoundError):
        guard.issue(name="x", tenant="acme", parent="key_unknown")
    with pytest.raises(NotFoundError):
        guard.issue(name="x", tenant="acme", groups=["group_unknown"])


def test_keys_are_listed_by_pages_and_filters(guard):
    """Every key is on exactly one page, and filters are exact."""
    ids = sorted(guard.issue(name=str(n), tenant="ab"[n % 2]).id for n in range(7))
    pages, after = [], ""
    while page := guard.list(after=after, limit=3):
        pages.append([key.id for key in page])
        after = page[-1].id
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [key for page in pages for key in page] == ids
    assert {key.tenant for key in guard.list(tenant="a")} == {"a"}
    for limit in (0, 1_001):
        with pytest.raises(InputError, match="limit"):
            guard.list(limit=limit)


def test_an_explanation_shows_every_check_and_agrees_with_the_decision(guard):
    """Asked about a request, explain finds the same reason as the decision, and all others."""
    limits = Limits(read_only=True, models={"message": "read"}, networks=["10.0.0.0/8"])
    issued = guard.issue(name="CI", tenant="acme", limits=limits)
    denied = guard.ask(issued, "POST", "/globex/device")
    explained = guard.explain(issued.id, "POST", "/globex/device", ip="203.0.113.7")
    assert explained.reason is denied.reason is Reason.TENANT_MISMATCH
    assert [step.refused for step in explained.steps if step.refused] == [
        Reason.TENANT_MISMATCH,
        Reason.NETWORK_NOT_ALLOWED,
        Reason.METHOD_NOT_ALLOWED,
        Reason.MODEL_NOT_ALLOWED,
    ]
    assert all((step.mend is None) == (step.refused is None) for step in explained.steps)
    later = datetime.now(UTC) + timedelta(days=1)
    assert guard.explain(issued.id, "GET", "/acme/message", ip="10.1.1.1", at=later).reason is None
    assert guard.explain(issued.id, "GET", "/x", tenant="acme", model="message", ip="10.1.1.1")
    for wrong in ({"path": "x"}, {"ip": "here"}):
        with pytest.raises(InputError):
            guard.explain(issued.id, "GET", wrong.pop("path", "/acme/x"), **wrong)
    group = guard.create_group(name="g").node
    with pytest.raises(InputError, match="group"):
        guard.explain(group.id, "GET", "/acme/x")


def test_the_id_of_a_refusal_tells_the_operator_which_check_it_was(guard):
    """A denial's id alone, without any log, names reason, key, node and clause."""
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(models={"message": "read"}))
    denied = guard.ask(issued, path="/acme/device")
    denial = dict(guard.refuse(denied).headers)["keybound-denial"]
    explained = guard.explain_denial(denial)
    assert (explained.reason, explained.key) == (Reason.MODEL_NOT_ALLOWED, issued.id)
    assert (explained.step.check, explained.step.node) == ("models", issued.id)
    guard.update(issued.id, limits={"models": "*"})
    assert guard.explain_denial(denial).step is None, "the clause is not there any more"
    with pytest.raises(InputError, match="denial id"):
        guard.explain_denial(denial[:-4] + "AAAA")


def test_the_id_of_a_refusal_to_whom_an_authenticator_knows_says_the_reason(make):
    """Whoever has no key is stored nowhere, and an operator finds out all the same."""
    guard = make(authenticators=[lambda _: Principal(id="u_1", limits=Limits(read_only=True))])
    head = FakeHead(method="POST", path="/x")
    denied = guard.authorize("POST", "/x", *guard.reader.read(head))
    explained = guard.explain_denial(dict(guard.refuse(denied).headers)["keybound-denial"])
    assert (explained.reason, explained.key) == (Reason.METHOD_NOT_ALLOWED, "u_1")
    assert explained.step is None


def test_an_explanation_is_told_where_the_key_stands(guard):
    """A key that must come in a header is explained in the other places, too."""
    limits = Limits(header_only=True, models="*")
    key = guard.issue(name="CI", tenant="acme", limits=limits).id
    reasons = {
        place: guard.explain(key, "GET", "/acme/message", sent_in=place).reason
        for place in ("header", "query", "cookie")
    }
    refused = Reason.CREDENTIAL_NOT_ALLOWED
    assert reasons == {"header": None, "query": refused, "cookie": refused}
    with pytest.raises(InputError, match="sent_in"):
        guard.explain(key, "GET", "/acme/message", sent_in="body")


def test_waiting_returns_when_the_change_holds_everywhere(make):
    """With ``wait``, the bound has passed when the call returns."""
    guard = make(revoke_within=0.3, sync_every=0.05)
    issued = guard.issue(name="CI")
    receipt = guard.revoke(issued.id, wait=True)
    assert datetime.now(UTC) >= receipt.effective_by - timedelta(milliseconds=50)
