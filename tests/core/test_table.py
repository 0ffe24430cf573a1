"""Routers in the table: a framework's own router is asked where no configured route is about."""

from __future__ import annotations

import re

import pytest

from keybound.core.declared import DeclaredRoute, UnreadRoute
from keybound.core.models_of import ModelSource
from keybound.core.patterns import compile_path
from keybound.core.routes import Route
from keybound.core.table import RouteTable, View


class Router:
    """A router of one rule, which counts how often it is asked."""

    def __init__(self, path="/{tenant}/bills/{number}", **members):
        """Have a rule with these demands."""
        self.regex = compile_path(path)
        self.route = DeclaredRoute(path, self.regex, None, **members)
        self.routes = [self.route]
        self.asked = 0

    def find(self, method, path):
        """Answer everything but DELETE."""
        self.asked += 1
        found = self.regex.fullmatch(path)
        if found is None or method == "DELETE":
            return None
        return View(self.route, {**found.groupdict(), "blueprint": "billing", "endpoint": "bill"})


def test_a_router_tells_what_a_request_is_about():
    """Its demands and fields are those of the view that the framework will choose."""
    router = Router(model="bill", scopes=["a"])
    match = RouteTable(routers=[router]).match("GET", "/acme/bills/7")
    assert (match.tenant, match.model, match.scopes) == ("acme", "bill", ("a",))
    assert match.view is router.route
    assert match.auth == "required"


def test_a_router_opens_nothing_that_is_guarded():
    """Whatever its view says of a key."""
    router = Router(auth="exempt")
    assert RouteTable(routers=[router]).match("GET", "/acme/bills/7").auth == "required"
    open_table = RouteTable(protect=["/v1/*"], routers=[router])
    assert open_table.match("GET", "/acme/bills/7").auth == "exempt"


def test_configured_routes_win():
    """The router is not even asked."""
    router = Router(model="bill")
    table = RouteTable([Route("/{tenant}/bills/{x}", model="invoice")], routers=[router])
    match = table.match("GET", "/acme/bills/7")
    assert (match.model, match.view, router.asked) == ("invoice", None, 0)


def test_a_router_is_asked_once_for_each_request():
    """Its answer depends on method and path alone, so it is remembered."""
    router = Router()
    table = RouteTable(routers=[router])
    for _ in range(3):
        table.match("GET", "/acme/bills/7")
        table.match("DELETE", "/acme/bills/7")
    assert router.asked == 2


def test_what_no_router_knows_is_guarded_and_about_nothing():
    """Unknown is not the caller's own tenant where requests are about tenants."""
    table = RouteTable(routers=[Router(), Router("/x")])
    match = table.match("DELETE", "/acme/bills/7")
    assert (match.auth, match.tenant, match.model, match.view) == ("required", None, None, None)


def test_the_first_router_that_knows_is_meant():
    """Several applications may have one guard."""
    second = Router("/x", model="second")
    table = RouteTable(routers=[Router(), second])
    assert table.match("GET", "/x").model == "second"


def test_a_configured_model_may_be_what_the_router_has_there():
    """``{blueprint}`` is filled by the router, and unknown where it cannot tell."""
    route = Route("/{tenant}/*", model="{blueprint}.{endpoint}", scopes="a")
    table = RouteTable([route], routers=[Router()])
    match = table.match("GET", "/acme/bills/7")
    assert (match.model, match.tenant, match.scopes) == ("billing.bill", "acme", ("a",))
    assert table.match("DELETE", "/acme/bills/7").model is None
    assert RouteTable([route]).match("GET", "/acme/bills/7").model is None


def test_a_field_of_the_path_is_not_the_router_s():
    """What a site calls its own fields stays its own."""
    table = RouteTable([Route("/{blueprint}/x", model="{blueprint}")], routers=[Router("/a/x")])
    assert table.match("GET", "/a/x").model == "a"


def test_a_method_in_other_letters_gets_no_favour_of_a_view():
    """It is asked for in capitals, guarded, and written as any unknown method."""
    router = Router(access=None, auth="optional")
    match = RouteTable(protect=["/v1"], routers=[router]).match("get", "/acme/bills/7")
    assert (match.auth, match.access, match.tenant) == ("required", "write", "acme")


def test_tenants_of_a_router_make_tenancy():
    """A key without a home tenant reaches none of its views."""
    assert RouteTable(routers=[Router()]).tenancy
    assert not RouteTable(routers=[Router("/{number}")]).tenancy
    assert not RouteTable(routers=[Router("/x/{tenant}")], protect=["/v1"]).tenancy


@pytest.mark.parametrize(
    ("protect", "routes", "guarded"),
    [
        (["/*"], [], True),
        (["/acme/*"], [], True),
        (["/acme/bills"], [], False),
        (["/v1/bills/*"], [], True),
        (["/v1/x/*"], [], False),
        (["/*"], [Route("/*", auth="exempt")], False),
        (["/v1/x"], [Route("/{tenant}/bills/{n}", auth="optional")], True),
        (["/v1/x"], [Route("/{tenant}/bills/{n}", "POST", "bill")], False),
    ],
    ids=str,
)
def test_whether_anything_of_a_view_is_guarded(protect, routes, guarded):
    """In doubt it is: what counts is an application of which nothing is."""
    table = RouteTable(routes, protect=protect)
    view = DeclaredRoute("/{tenant}/bills/{number}", compile_path("/x"), ["GET"])
    assert table.may_guard(view) is guarded


def test_a_view_that_requires_a_key_is_guarded():
    """Whatever is protected."""
    view = DeclaredRoute("/x", compile_path("/x"), None, auth="required")
    assert RouteTable(protect=["/v1"]).may_guard(view)
    assert not RouteTable(protect=["/v1"]).may_guard(DeclaredRoute("/x", compile_path("/x"), None))


def test_a_request_whose_view_cannot_be_told_asks_no_router():
    """Only what a site configured is said of it, and nothing is remembered."""
    router = Router(model="bill", scopes=["a"])
    routes = [Route("/{tenant}/named/*", model="{endpoint}"), Route("/acme/open", auth="exempt")]
    table = RouteTable(routes, protect=["/*"], routers=[router])
    for _ in range(2):
        match = table.match_unrouted("GET", "/acme/bills/7")
        assert (match.auth, match.tenant, match.model, match.scopes) == ("required", None, None, ())
        assert table.match_unrouted("GET", "/acme/named/x").model is None
        assert table.match_unrouted("GET", "/acme/open").auth == "exempt"
    assert router.asked == 0
    assert table.match("GET", "/acme/bills/7").model == "bill"


def test_a_view_that_cannot_be_told_may_ask_for_a_key():
    """Where nothing is guarded a key is read, and not required, so that the view can have it."""
    table = RouteTable(protect=["/v1/*"], routers=[Router()])
    assert table.match_unrouted("GET", "/acme/bills/7").auth == "optional"
    assert table.match("GET", "/acme/none").auth == "exempt"
    assert table.match_unrouted("GET", "//") is None


def test_what_matched_is_told_apart_from_the_view():
    """A configured route may have asked the router: then both are known."""
    router = Router()
    route = Route("/{tenant}/*", model="{endpoint}")
    configured = RouteTable([route], routers=[router]).match("GET", "/acme/bills/7")
    assert (configured.route, configured.view) == (route, router.route)
    declared = RouteTable(routers=[router]).match("GET", "/acme/bills/7")
    assert declared.route is declared.view is router.route
    assert RouteTable(routers=[router]).match("DELETE", "/x").route is None


@pytest.mark.parametrize(
    ("configured", "asked"),
    [("/v1/admin", "/v1/admin/"), ("/v1/admin/", "/v1/admin"), ("/v1/admin/*", "/v1/admin")],
)
def test_demands_hold_with_a_slash_more_or_less(configured, asked):
    """Some routers take both paths for one view, so what is demanded of one is of the other."""
    route = Route(configured, "POST", scopes="admin", model="bill", access="write")
    match = RouteTable([route], protect=[]).match("POST", asked)
    assert (match.auth, match.scopes, match.access) == ("required", ("admin",), "write")
    assert match.model is None, "what is granted holds for the path as it is written"


DEMANDING = Route("/admin", scopes="admin", model="secret", tenant="acme")
CATCHING = Route("/*", model="any", access="read", methods="GET POST", scopes="any", tenant="~")


@pytest.mark.parametrize("asked", ["/admin/", "/admin"])
def test_demands_are_not_left_out_by_a_route_for_everything(asked):
    """One that comes later matches the path with a slash more or less; both demand what they do."""
    demanding = Route("/admin" if asked == "/admin/" else "/admin/", scopes="admin")
    for auth in ("exempt", "optional", "required"):
        for path in ("/*", "/{x:path}", "/{x}", "*/admin", "/{x}/"):
            table = RouteTable([demanding, Route(path, auth=auth, scopes="any")])
            found = table.match("GET", asked)
            assert found.auth == "required"
            assert "admin" in found.scopes


def test_what_two_routes_say_of_nearly_one_path_is_unknown():
    """Nobody knows which of them is meant; and what may be one of them writes."""
    found = RouteTable([DEMANDING, CATCHING]).match("POST", "/admin/")
    assert (found.scopes, found.access) == (("any", "admin"), "write")
    assert (found.names_model, found.model) == (True, None)
    assert (found.tenant_in_path, found.tenant) == (True, None)
    search = Route("/search", "POST", access="read", scopes="s", tenant="~")
    found = RouteTable([search, CATCHING]).match("POST", "/search/")
    assert (found.scopes, found.access, found.model) == (("any", "s"), "read", "any")
    assert (found.tenant_in_path, found.tenant) == (False, "~")
    body = Route("/chat", model="body(model)", scopes="c")
    found = RouteTable([body, Route("/*", model="any")]).match("GET", "/chat/")
    assert (found.names_model, found.model, found.body, found.tenant) == (True, None, None, "~")


def test_a_key_on_a_route_that_needs_none_meets_what_that_demands():
    """It may be let in without a key, but not with one that may not do that."""
    optional = Route("/a", auth="optional", scopes="s")
    found = RouteTable([optional, CATCHING]).match("GET", "/a/")
    assert (found.auth, found.scopes) == ("required", ("any", "s"))
    found = RouteTable([optional, Route("/*", auth="optional")]).match("GET", "/a/")
    assert (found.auth, found.scopes) == ("optional", ("s",))


def test_who_demands_nothing_leaves_what_is_said_of_a_path():
    """Neither does a route for this one path leave any doubt, nor one that comes later, or fits."""
    opened, own = Route("/a", auth="exempt", model="m", scopes="s"), Route("/a/", scopes="own")
    for routes in ([opened, CATCHING], [CATCHING, Route("/a", scopes="s")]):
        assert RouteTable(routes).match("GET", "/a/").scopes == ("any",)
    assert RouteTable([Route("/a", scopes="s"), own]).match("GET", "/a/").scopes == ("own",)
    assert RouteTable([CATCHING]).match("GET", "/a/").model == "any"
    posted = Route("/a", "POST", scopes="s")
    assert RouteTable([posted, CATCHING]).match("GET", "/a/").scopes == ("any",)


def test_favours_hold_for_the_path_as_it_is_written():
    """A path that only looks like one that is open is guarded, and its POST is a write."""
    table = RouteTable([Route("/a", auth="exempt"), Route("/b", "POST", access="read")])
    assert table.match("GET", "/a").auth == "exempt"
    assert table.match("GET", "/a/").auth == "required"
    assert table.match("POST", "/b/").access == "write"


def test_a_slash_does_not_unguard_a_path():
    """``protect=["/secret"]`` guards ``/secret/`` too, and nothing else."""
    table = RouteTable(protect=["/secret"])
    asked = ("/secret", "/secret/", "/secrets", "/secret/x")
    assert [table.match("GET", path).auth for path in asked] == [
        *("required", "required"),
        *("exempt", "exempt"),
    ]


def test_a_router_that_cannot_tell_leaves_nothing_to_settings():
    """What a view is about may stand in its path, in a way that nobody knows in advance."""
    source = ModelSource.parse("body(model)")
    hidden = Router("/x/{n}", unresolved=("model", "tenant"))
    table = RouteTable(routers=[hidden, Router(model="bill")], model_from=source, tenancy=True)
    match = table.match("POST", "/x/7")
    assert (match.names_model, match.model, match.body) == (True, None, None)
    assert (match.tenant_in_path, match.tenant) == (True, None)


def test_where_no_path_tells_anything_settings_do():
    """Nothing is hidden in the path of a view, if no path of the application tells such a thing."""
    source = ModelSource.parse("body(model)")
    hidden = Router("/x/{n}", unresolved=("model", "tenant"))
    table = RouteTable(routers=[hidden], model_from=source, tenancy=True)
    for match in (table.match("POST", "/x/7"), table.match_unrouted("POST", "/y")):
        assert (match.names_model, str(match.body)) == (False, "body(model)")
        assert not match.tenant_in_path


def test_a_request_without_a_view_may_be_about_what_paths_tell():
    """Nobody knows yet which view, and so what its path tells."""
    source = ModelSource.parse("body(model)")
    table = RouteTable(routers=[Router(model="bill")], model_from=source)
    match = table.match_unrouted("POST", "/y")
    assert (match.names_model, match.model, match.tenant_in_path) == (True, None, True)
    match = table.match("POST", "/y")
    assert (match.names_model, str(match.body), match.tenant_in_path) == (
        False,
        "body(model)",
        False,
    )


def test_a_view_that_names_a_model_needs_no_setting():
    """Its own demand is about it."""
    table = RouteTable(routers=[Router(model="bill")], model_from=ModelSource.parse("body(model)"))
    match = table.match("GET", "/acme/bills/7")
    assert (match.model, match.names_model, match.body) == ("bill", True, None)


@pytest.mark.parametrize("name", ["*", " ", "a b", "a,*", "..", "a" * 300, "\u00a0"])
def test_a_path_names_no_tenant_that_cannot_be(name):
    """It is about an unknown one, as where a header says so, and nothing else makes up for that."""
    table = RouteTable([Route("/t/{tenant}/x"), Route("/d/{a}/{b}", tenant="{a}/{b}")])
    for path in (f"/t/{name}/x", f"/d/{name}/100"):
        match = table.match("GET", path)
        assert match is None or (match.tenant, match.tenant_in_path) == (None, True)
    assert table.match("GET", "/d/~/100").tenant == "~/100"


# ------------------------------------------------------------------ routes that nobody can read


@pytest.mark.parametrize("facts", [(), ("model",), ("tenant",), ("model", "tenant")], ids=str)
def test_what_any_path_may_be_for_is_unknown(facts):
    """Where nothing else is about a path, those facts are not told."""
    table = RouteTable([UnreadRoute(facts, anywhere=True)], protect=["/v1/*"])
    for path, auth in (("/v1/x", "required"), ("/x", "exempt")):
        found = table.match("GET", path)
        assert (found.auth, found.route, found.model) == (auth, None, None)
        assert found.names_model is ("model" in facts)
        assert found.tenant_in_path is ("tenant" in facts)
        assert found.tenant == (None if "tenant" in facts else "~")


@pytest.mark.parametrize("facts", [(), ("model",), ("tenant",)], ids=str)
def test_what_certain_paths_may_be_for_is_unknown_there(facts):
    """Elsewhere nothing is hidden; that requests are about tenants is so everywhere."""
    somewhere = DeclaredRoute("/in/*", re.compile("/in/.*"), None, unresolved=facts)
    table = RouteTable([UnreadRoute(facts, anywhere=False), somewhere], protect=["/v1/*"])
    hidden, other = table.match("GET", "/in/x"), table.match("GET", "/x")
    assert (hidden.names_model, hidden.tenant_in_path) == ("model" in facts, "tenant" in facts)
    assert (other.names_model, other.tenant_in_path) == (False, False)
    assert {hidden.tenant, other.tenant} == {None if "tenant" in facts else "~"}
    assert other.auth == "exempt"


def test_unread_routes_are_for_no_request():
    """They match nothing, and leave what is read as it is."""
    read = DeclaredRoute("/x", re.compile("/x"), None, model="bill", tenant="acme")
    table = RouteTable([UnreadRoute(("model", "tenant"), anywhere=True), read])
    found = table.match("GET", "/x")
    assert (found.route, found.model, found.tenant) == (read, "bill", "acme")
