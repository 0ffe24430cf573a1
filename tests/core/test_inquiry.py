"""What is decided about one request: each method that it asks for, and each model that it names."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from keybound.core.bodies import BodyFields
from keybound.core.chain import Chain
from keybound.core.clients import PEER_REMEMBERED_MAX
from keybound.core.decision import Allowed, Denied, again
from keybound.core.inquiry import Inquiry, NeedBody
from keybound.core.limits import DIMENSIONS, Clause, Limits
from keybound.core.models_of import ModelSource
from keybound.core.reasons import Reason
from keybound.core.routes import Route
from keybound.core.table import METHOD_REMEMBERED_MAX, PATH_REMEMBERED_MAX, RouteTable
from keybound.core.terms import ChainPolicy
from keybound.core.told import ReadBody, Told
from keybound.testing.records import a_key
from tests.core.heads import FakeHead

FIELDS = BodyFields(("model",))
OTHERS = BodyFields(("name",))


def by_header(head):
    """Return the models of a header."""
    return [line.decode() for line in head.lines("x-model")]


ROUTES = [
    Route("/open", methods="GET", auth="exempt"),
    Route("/maybe", methods="GET", auth="optional"),
    Route("/fixed", model="chat"),
    Route("/m/{model}"),
    Route("/body", model="body(model)"),
    Route("/both", methods="POST", model=["chat", "body(model)"]),
    Route("/both", methods="PUT", model="body(name)"),
    Route("/call", model=by_header),
    Route("/call/body", model=[by_header, "body(model)"]),
]


@dataclass(frozen=True, slots=True)
class Named(Clause):
    """One model, as a site might limit keys to it."""

    dimension = "named"

    model: str

    @classmethod
    def parse(cls, value, /):
        """Read its name."""
        return cls(str(value))

    def permits(self, facts, _now, /):
        """Return whether it is this one."""
        return facts.model == self.model

    def covers(self, other, /):
        """Return whether the other is of the same."""
        return self == other

    def reason(self, _facts, _now, /):
        """Return the nearest reason."""
        return Reason.MODEL_NOT_ALLOWED

    def describe(self):
        """Return the name."""
        return self.model

    def dump(self):
        """Return it, too."""
        return self.model


def inquiry(path, method="POST", *, told=None, head=None, tenant=False, peer="192.0.2.1"):
    """Return what is asked by a request."""
    tenants = [Route("/t/{tenant}"), Route("/own", tenant="~")] if tenant else []
    table = RouteTable([*ROUTES, *tenants], protect=("/*",))
    methods = (method, *(told.taken_for if told else ()))
    found = Inquiry.of(
        [(each, table.match(each, path)) for each in methods], path, peer, told, head
    )
    assert found is not None
    return found


def decided(path, method="POST", *, now=0.0, rights=(), limits=None, **more):
    """Return what becomes of it, for a key with these limits."""
    tenancy = more.get("tenant", False)
    key = a_key("key_1", tenant="acme", limits=Limits(**limits or {}), rights=rights)
    chain = Chain(key, {}, ChainPolicy(tenancy=tenancy))
    found = inquiry(path, method, **more).decide(chain, now)
    return found.reason if isinstance(found, Denied) else found


def test_path_that_the_table_does_not_know_is_no_question():
    """For none of the methods."""
    table = RouteTable([], protect=("/*",))
    asks = [("GET", table.match("GET", "/a")), ("PUT", table.match("PUT", "/../a"))]
    assert Inquiry.of(asks, "/a", None, None, None) is None
    assert Inquiry((), "/a", None, None, None).decide(
        Chain(a_key("key_1"), {}, ChainPolicy()), 0.0
    ) == Denied(Reason.INVALID_PATH)


def test_nothing_of_a_request_is_shown():
    """Not even to those who print values well."""
    found = inquiry("/fixed")
    assert repr(found) == "Inquiry(...)"
    assert found.__rich_repr__() == []


def test_guard_is_the_strictest_of_what_is_asked():
    """An open route is none for another method."""
    assert inquiry("/open", "GET").auth == "exempt"
    assert inquiry("/maybe", "GET").auth == "optional"
    for path in ("/open", "/maybe"):
        assert inquiry(path, "GET", told=Told(taken_for=("PUT",))).auth == "required"
        assert inquiry(path, "PUT", told=Told(taken_for=("GET",))).auth == "required"


def test_preflight_is_exempt_under_its_own_method_alone():
    """What something within made of it is another request."""
    told = Told(preflight=True)
    assert inquiry("/x", "OPTIONS", told=told).auth == "exempt"
    assert inquiry("/x", "OPTIONS").auth == "required"
    assert inquiry("/x", "GET", told=told).auth == "required"
    twofold = told._replace(taken_for=("OPTIONS",))
    assert inquiry("/x", "OPTIONS", told=twofold).auth == "required"


def test_each_method_must_be_permitted():
    """The first refusal is the reason."""
    told = Told(taken_for=("DELETE", "PUT"))
    assert isinstance(decided("/x", told=told), Allowed)
    limits = {"methods": ["POST", "DELETE"]}
    assert decided("/x", told=told, limits=limits) is Reason.METHOD_NOT_ALLOWED
    limits = {"methods": ["DELETE", "PUT"], "scopes": []}
    assert decided("/x", told=told, limits=limits) is Reason.METHOD_NOT_ALLOWED
    reported = decided(
        "/x", told=told, limits={"methods": "POST"}, rights=("report_only",), now=7.0
    )
    assert isinstance(reported, Allowed)
    assert [each.reason for each in reported.reported] == [Reason.METHOD_NOT_ALLOWED] * 2
    assert reported.begins >= reported.ends


def test_model_of_the_path_counts_unless_that_is_crooked():
    """One that is written out is known all the same."""
    limits = {"models": {"chat": "write"}}
    assert isinstance(decided("/m/chat", limits=limits), Allowed)
    assert decided("/m/other", limits=limits) is Reason.MODEL_NOT_ALLOWED
    crooked = Told(crooked=True)
    assert decided("/m/chat", limits=limits, told=crooked) is Reason.MODEL_UNRESOLVED
    assert isinstance(decided("/m/chat", told=crooked), Allowed)
    assert isinstance(decided("/fixed", limits=limits, told=crooked), Allowed)


def test_body_is_read_for_a_dimension_of_a_site_as_well(monkeypatch):
    """Which may be about models, for all that anybody knows."""
    monkeypatch.setitem(DIMENSIONS, "named", Named)
    limits = {"named": "chat"}
    assert decided("/both", limits=limits) == NeedBody(FIELDS)
    for models, allowed in ((("chat",), True), (("chat", "other"), False), (None, False)):
        told = Told(body=ReadBody(FIELDS, models))
        assert isinstance(decided("/both", limits=limits, told=told), Allowed) is allowed


def test_body_is_asked_for_last_and_only_where_it_matters():
    """By keys that are limited in models, when everything else is permitted."""
    limits = {"models": {"chat": "write"}}
    assert decided("/body", limits=limits) == NeedBody(FIELDS)
    assert decided("/both", limits=limits) == NeedBody(FIELDS)
    assert isinstance(decided("/body"), Allowed)
    assert decided("/body", limits={**limits, "methods": "PUT"}) is Reason.METHOD_NOT_ALLOWED
    assert decided("/both", limits={"models": {"x": "write"}}) is Reason.MODEL_NOT_ALLOWED
    assert decided("/call/body", limits=limits) is Reason.MODEL_UNRESOLVED  # by the function
    told = Told(taken_for=("PUT",))
    assert decided("/both", "PUT", limits=limits, told=Told(taken_for=("POST",))) == (
        NeedBody(OTHERS)
    )
    assert decided("/both", limits=limits, told=told) == NeedBody(FIELDS)


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (ReadBody(FIELDS, ("chat",)), None),
        (ReadBody(FIELDS, ("chat", "small")), None),
        (ReadBody(FIELDS, ("chat", "other")), Reason.MODEL_NOT_ALLOWED),
        (ReadBody(FIELDS, ("other", "chat")), Reason.MODEL_NOT_ALLOWED),
        (ReadBody(FIELDS, None), Reason.MODEL_UNRESOLVED),
        (ReadBody(OTHERS, ("chat",)), Reason.MODEL_UNRESOLVED),
    ],
    ids=str,
)
def test_every_model_of_a_body_must_be_permitted(read, reason):
    """What was read for another route says nothing of this one."""
    limits = {"models": {"chat": "write", "small": "write"}}
    found = decided("/body", limits=limits, told=Told(body=read))
    assert found is reason if reason else isinstance(found, Allowed)


def test_function_is_asked_for_models_every_time():
    """Another request may look the same to everybody but it."""
    limits = {"models": {"chat": "write"}}
    for models, reason in (
        ((b"chat",), None),
        ((b"chat", b"other"), Reason.MODEL_NOT_ALLOWED),
        ((), Reason.MODEL_UNRESOLVED),
    ):
        head = FakeHead(tuple(("x-model", model) for model in models))
        found = decided("/call", limits=limits, head=head, now=7.0)
        if reason is None:
            assert isinstance(found, Allowed)
            assert (found.begins, found.ends) == (7.0, 7.0)
        else:
            assert found is reason
    assert decided("/call", limits=limits) is Reason.MODEL_UNRESOLVED
    assert not inquiry("/call").repeats
    assert ModelSource.parse(by_header).calls == (by_header,)


@pytest.mark.parametrize(
    ("found", "repeats"),
    [
        (inquiry("/x"), True),
        (inquiry("/".ljust(PATH_REMEMBERED_MAX, "x")), True),
        (inquiry("/".ljust(PATH_REMEMBERED_MAX + 1, "x")), False),
        (inquiry("/x", "X" * METHOD_REMEMBERED_MAX), True),
        (inquiry("/x", "X" * (METHOD_REMEMBERED_MAX + 1)), False),
        (inquiry("/x", peer=None), True),
        (inquiry("/x", peer="x" * PEER_REMEMBERED_MAX), True),
        (inquiry("/x", peer="x" * (PEER_REMEMBERED_MAX + 1)), False),
        (inquiry("/x", told=Told(crooked=True)), True),
        (inquiry("/body", told=Told(body=ReadBody(FIELDS, ("chat",)))), False),
    ],
)
def test_what_is_too_long_is_decided_every_time(found, repeats):
    """So that what is remembered is bounded; a body has room for many models."""
    assert found.repeats is repeats
    decision = found.decide(Chain(a_key("key_1"), {}, ChainPolicy()), 7.0)
    assert isinstance(decision, Allowed)
    assert (decision == again(decision, 7.0)) is not repeats


@pytest.mark.parametrize(
    ("path", "said", "reason"),
    [
        ("/t/acme", "acme", None),
        ("/t/acme", "~", None),
        ("/t/acme", None, None),
        ("/t/acme", "evil", Reason.TENANT_UNRESOLVED),
        ("/t/evil", "acme", Reason.TENANT_UNRESOLVED),
        ("/t/evil", "evil", Reason.TENANT_MISMATCH),
        ("/own", "acme", None),
        ("/own", "evil", Reason.TENANT_UNRESOLVED),
        ("/x", "acme", None),
        ("/x", "~", None),
        ("/x", "evil", Reason.TENANT_MISMATCH),
        ("/x", None, Reason.TENANT_UNRESOLVED),
    ],
)
def test_route_and_setting_name_one_tenant(path, said, reason):
    """Where both do, they must agree."""
    found = decided(path, tenant=True, told=Told(tenant=said))
    assert found is reason if reason else found.identity.request_tenant == "acme"


@pytest.mark.parametrize("said", ["acme", "other", None])
def test_own_tenant_of_who_has_none_is_unknown_whatever_else_says(said):
    """A route that is about the caller's own tenant is about no other."""
    inquired = inquiry("/own", tenant=True, told=Told(tenant=said))
    for tenants in ("*", ["acme", "other"]):
        key = a_key("key_1", limits=Limits(tenants=tenants))
        refused = inquired.decide(Chain(key, {}, ChainPolicy(tenancy=True)), 0.0)
        assert isinstance(refused, Denied)
        assert refused.reason is Reason.TENANT_UNRESOLVED


def test_tenant_of_a_crooked_path_is_unknown_whatever_else_says():
    """Somebody behind us may take it for another one."""
    told = Told(tenant="acme", crooked=True)
    assert decided("/t/acme", tenant=True, told=told) is Reason.TENANT_UNRESOLVED
    assert isinstance(decided("/own", tenant=True, told=told), Allowed)


def test_address_and_place_of_the_credential_are_facts():
    """A key for one network, or for headers alone."""
    assert decided("/x", limits={"networks": "10.0.0.1"}) is Reason.NETWORK_NOT_ALLOWED
    assert decided("/x", limits={"networks": "10.0.0.1"}, peer=None) is Reason.NETWORK_UNKNOWN
    limits = {"header_only": True}
    assert isinstance(decided("/x", limits=limits), Allowed)
    told = Told(in_header=False)
    assert decided("/x", limits=limits, told=told) is Reason.CREDENTIAL_NOT_ALLOWED
