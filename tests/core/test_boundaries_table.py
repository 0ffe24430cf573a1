"""Edges of the route table: how much is remembered, and what a route that is almost meant says."""

from __future__ import annotations

import re

import pytest

from keybound.core.declared import DeclaredRoute
from keybound.core.errors import InputError
from keybound.core.models_of import ModelSource
from keybound.core.patterns import may_meet
from keybound.core.routes import Route
from keybound.core.table import (
    METHOD_REMEMBERED_MAX,
    PATH_MAX,
    PATH_REMEMBERED_MAX,
    RouteTable,
)


class CountingRouter:
    """A router that finds nothing, and counts how often it is asked."""

    routes = ()

    def __init__(self):
        """Begin at nought."""
        self.asked = 0

    def find(self, _method, _path):
        """Find nothing."""
        self.asked += 1


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("G" * METHOD_REMEMBERED_MAX, "/" + "p" * (PATH_REMEMBERED_MAX - 1), 1),
        ("G" * (METHOD_REMEMBERED_MAX + 1), "/", 2),
        ("G", "/" + "p" * PATH_REMEMBERED_MAX, 2),
    ],
    ids=["longest", "method", "path"],
)
def test_only_short_requests_are_remembered(method, path, asked):
    """Up to a length of either; whoever sends longer ones fills no memory."""
    router = CountingRouter()
    table = RouteTable(routers=[router])
    table.match(method, path)
    table.match(method, path)
    assert router.asked == asked


def test_no_more_is_remembered_than_there_is_room_for():
    """Before one too many comes, all are forgotten."""
    router = CountingRouter()
    table = RouteTable(routers=[router], memo_max=2)
    for path in ("/a", "/b", "/a", "/b"):
        table.match("GET", path)
    assert router.asked == 2
    table.match("GET", "/c")
    table.match("GET", "/b")
    assert router.asked == 4


def test_the_longest_path_is_matched():
    """One character more, and nobody knows what it reaches."""
    table = RouteTable([Route("/{x}")])
    assert table.match("GET", "/" + "x" * (PATH_MAX - 1)).route is not None
    assert table.match("GET", "/" + "x" * PATH_MAX) is None


def test_a_slash_more_writes_where_the_route_writes():
    """A route that writes whatever the method makes a write of what is almost it, too."""
    table = RouteTable([Route("/n", access="write"), Route("/s", methods="POST", access="read")])
    assert table.match("GET", "/n/").access == "write"
    assert table.match("POST", "/s/").access == "write"  # a favour is for the route itself
    assert table.match("GET", "/s/").access == "read"


def test_a_slash_more_settles_no_fact():
    """What a setting says of models and tenants is not believed of what a route may be about."""
    body = ModelSource.parse("body(model)")
    routes = [Route("/m", model="m"), Route("/t", tenant="acme"), Route("/plain")]
    table = RouteTable(routes, model_from=body, tenancy=True)
    model, tenant, plain = (table.match("GET", path) for path in ("/m/", "/t/", "/plain/"))
    assert (model.names_model, model.model, model.body) == (True, None, None)
    assert (model.tenant, model.tenant_in_path) == (None, False)
    assert (tenant.tenant, tenant.tenant_in_path) == (None, True)
    assert (tenant.names_model, tenant.body) == (False, body.body)
    assert (plain.names_model, plain.body, plain.tenant_in_path) == (False, body.body, False)


def test_what_an_application_declares_of_such_a_path_stays():
    """Its own model is known, and so is its tenant; what is demanded besides holds as well."""
    declared = DeclaredRoute("/m/", re.compile("/m/"), ["GET"], model="own", tenant="acme")
    table = RouteTable([Route("/m", model="m", tenant="other"), declared])
    found = table.match("GET", "/m/")
    assert (found.model, found.names_model, found.auth) == ("own", True, "required")
    assert (found.tenant, found.tenant_in_path) == ("acme", False)


def test_what_an_application_says_of_a_body_stays_as_well():
    """Its route names models, though none that is known before the body is read."""
    declared = DeclaredRoute("/m/", re.compile("/m/"), ["GET"], model="body(model)")
    found = RouteTable([Route("/m", model="m"), declared]).match("GET", "/m/")
    assert (found.names_model, found.body) == (False, declared.body)
    assert found.body is not None


@pytest.mark.parametrize(
    ("told", "names_model", "tenant_in_path"),
    [({"model": "m"}, True, False), ({"tenant": "acme"}, False, True), ({}, False, False)],
    ids=["model", "tenant", "neither"],
)
def test_a_fact_is_hidden_only_where_some_view_tells_it(told, names_model, tenant_in_path):
    """A view that nobody could look into may be about what others of its application are about."""
    hiding = DeclaredRoute("/h", re.compile("/h"), ["GET"], unresolved=("model", "tenant"))
    telling = DeclaredRoute("/o", re.compile("/o"), ["GET"], auth="required", **told)
    found = RouteTable([hiding, telling]).match("GET", "/h")
    assert (found.names_model, found.tenant_in_path) == (names_model, tenant_in_path)


def test_only_a_field_of_the_path_is_in_the_path():
    """What is written out is known, however crooked the path is."""
    table = RouteTable(
        [Route("/m/{model}"), Route("/t/{tenant}"), Route("/x", model="m", tenant="t")]
    )
    assert table.match("GET", "/m/a").model_in_path
    assert not table.match("GET", "/m/a").tenant_in_path
    assert table.match("GET", "/t/a").tenant_in_path
    assert not table.match("GET", "/t/a").model_in_path
    found = table.match("GET", "/x")
    assert (found.model_in_path, found.tenant_in_path) == (False, False)


def test_there_are_tenants_where_a_route_that_is_not_open_has_one():
    """An open route may be about anybody."""
    assert RouteTable([Route("/{tenant}")]).tenancy
    assert RouteTable([Route("/{tenant}", auth="optional")]).tenancy
    assert not RouteTable([Route("/{tenant}", auth="exempt"), Route("/x")]).tenancy


def test_only_a_model_may_be_what_a_router_has():
    """A tenant is never the name of a blueprint, and no other field is known."""
    for model, asks in ((None, False), ("m", False), ("{x}", False), ("{blueprint}", True)):
        assert Route("/{x}", model=model).asks_view is asks
    for model, tenant in ((None, "{blueprint}"), ("{y}", None), (None, "{y}")):
        with pytest.raises(InputError, match="is not a field"):
            Route("/{x}", model=model, tenant=tenant)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("*/c/b/a", "/z/{x:path}/a", True),
        ("*/c/b/a", "/z/{x}/a", False),
        ("*/a", "/b/a", True),
        ("*/a", "/a/b", False),
    ],
)
def test_what_spans_segments_may_be_all_that_is_left(one, other, meet):
    """Before it nothing need be alike."""
    assert may_meet(one, other) is meet
    assert may_meet(other, one) is meet
