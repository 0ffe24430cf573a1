"""Routes: one table, read in one way; demands hold in any spelling, favours in one."""

from __future__ import annotations

import pytest

from keybound.core.errors import InputError
from keybound.core.facts import OWN_TENANT, WEBSOCKET
from keybound.core.models_of import ModelSource
from keybound.core.routes import Route
from keybound.core.table import PATH_MAX, RouteTable


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"path": "x"}, "path", "slash"),
        ({"path": "/{a:path}/{b:path}"}, "path", "not a pattern"),
        ({"access": "reed"}, "access", "did you mean 'read'"),
        ({"auth": "none"}, "auth", "known are"),
        ({"auth": None}, "auth", "unknown"),
        ({"access": "read"}, "access", "DELETE included"),
        ({"model": "{model}"}, "model", "not a field"),
        ({"tenant": "{a}/{b}", "path": "/{a}"}, "tenant", "{b} is not a field"),
        ({"tenant": 5}, "tenant", "5 is the name of none"),
        ({"tenant": "*"}, "tenant", "'*' is the name of none"),
        ({"tenant": ""}, "tenant", "'' is the name of none"),
        ({"model": "bodies(model)"}, "model", "did you mean 'body'"),
        ({"model": "body(a b)"}, "model", "no field of a body"),
        ({"model": ["body(model)", "{a}"]}, "model", "{a} is not a field"),
        ({"model": ["a", "b"]}, "model", "cannot stand here"),
        ({"model": []}, "model", "names nothing"),
        ({"model": 7}, "model", "names no model"),
        ({"methods": ""}, "methods", "are none"),
        ({"methods": []}, "methods", "are none"),
        ({"methods": "get"}, "methods", "'get' is no method"),
        ({"methods": "GET,POST"}, "methods", "no method"),
        ({"methods": 7}, "methods", "are not names"),
        ({"methods": [b"GET"]}, "methods", "are not names"),
        pytest.param({"scopes": iter(["a"])}, "scopes", "are not names", id="an iterator"),
        ({"scopes": [None]}, "scopes", "are not names"),
        ({"scopes": ['a"b']}, "scopes", "is no scope"),
        ({"scopes": ["a b"]}, "scopes", "is no scope"),
        ({"scopes": "é"}, "scopes", "is no scope"),
        ({"scopes": "a,b"}, "scopes", "comma"),
    ],
    ids=str,
)
def test_a_route_that_cannot_work_names_its_part(given, field, said):
    """Wrong parts are refused at start-up, with the field and the fix."""
    with pytest.raises(InputError) as caught:
        Route(**({"path": "/x"} | given))
    assert caught.value.field == field
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        *("", "x", "*", "//", "//x", "/x//y", "/x//", "/.", "/..", "/x/../y", "/x/.", "./x"),
        *("/x\\y", "/x\x00", "/x\ny", "/x\x7f", "/" + "a" * PATH_MAX),
        *("/x\ufffd", "/\ufffd/x", "/x\udcff"),
    ],
)
def test_a_path_that_two_routers_could_read_in_two_ways_matches_nothing(path):
    """It is refused before any route, even where everything is exempt."""
    table = RouteTable([Route("/*", auth="exempt")], protect=())
    assert table.match("GET", path) is None
    assert table.match("GET", path) is None, "and every time"


def test_the_longest_path_is_matched():
    """The bound is exact, and long paths are matched but not remembered."""
    table = RouteTable([Route("/*", scopes="a")])
    path = "/".ljust(PATH_MAX, "a")
    for _ in range(2):
        assert table.match("GET", path).scopes == ("a",)


@pytest.mark.parametrize("path", ["/...", "/x/..y", "/x.", "/x/", "/ü", "/a%2Fb"])
def test_an_ordinary_path_is_matched(path):
    """Dots within segments and a slash at the end are no tricks."""
    assert RouteTable().match("GET", path).auth == "required"


@pytest.mark.parametrize("method", ["DELETE", "delete", "Delete"])
def test_demands_hold_for_a_method_in_any_spelling(method):
    """Some applications answer ``delete`` as ``DELETE``, so scopes are asked for both."""
    table = RouteTable([Route("/{model}", "DELETE", scopes="purge"), Route("/{model}")])
    match = table.match(method, "/invoice")
    assert (match.scopes, match.model, match.access) == (("purge",), "invoice", "write")


@pytest.mark.parametrize("method", ["get", "Get", "post", "pOST"])
def test_favours_hold_for_the_exact_spelling_alone(method):
    """Neither an open route nor reading is had by a method that is not quite the one meant."""
    for auth in ("exempt", "optional"):
        route = Route("/open", "GET POST", access="read", auth=auth)
        table = RouteTable([route], protect=())
        assert table.match(method.upper(), "/open").auth == auth
        assert table.match(method.upper(), "/open").access == "read"
        odd = table.match(method, "/open")
        assert (odd.auth, odd.access) == ("required", "write")


def test_nothing_that_a_client_spells_is_a_websocket():
    """The method of a handshake is ours; another spelling of it is just an odd method."""
    table = RouteTable([Route("/x", WEBSOCKET, scopes="live", auth="optional"), Route("/x")])
    assert table.match(WEBSOCKET, "/x").scopes == ("live",)
    assert table.match("websocket", "/x").scopes == ()


@pytest.mark.parametrize(
    ("auth", "methods", "guarded"),
    [
        ("exempt", None, True),
        ("optional", None, True),
        ("exempt", "GET", True),
        ("exempt", WEBSOCKET, False),
    ],
)
def test_a_websocket_is_opened_only_by_name(auth, methods, guarded):
    """An exempt page does not open the socket beside it."""
    match = RouteTable([Route("/x", methods, auth=auth)]).match(WEBSOCKET, "/x")
    assert (match.auth == "required") is guarded


def test_get_includes_head_and_nothing_else():
    """As HTTP says."""
    table = RouteTable([Route("/x", "GET", scopes="a")])
    asked = {method: table.match(method, "/x").scopes for method in ("GET", "HEAD", "OPTIONS")}
    assert asked == {"GET": ("a",), "HEAD": ("a",), "OPTIONS": ()}


def test_the_first_route_that_matches_wins():
    """Method and path together."""
    table = RouteTable([Route("/a", "POST", "first"), Route("/{model}"), Route("/*", model="no")])
    assert table.match("POST", "/a").model == "first"
    assert table.match("GET", "/a").model == "a"
    assert table.match("GET", "/a/b").model == "no"


def test_fields_of_the_path_are_facts_and_templates_put_them_together():
    """``tenant`` and ``model`` by their names, or written out."""
    table = RouteTable([Route("/{domain}/{user}/{model}", tenant="{domain}/{user}")])
    match = table.match("GET", "/R1/acme/invoice")
    assert (match.tenant, match.model) == ("R1/acme", "invoice")
    assert RouteTable([Route("/{tenant}")]).match("GET", "/acme").tenant == "acme"


def test_without_tenants_in_any_route_requests_are_about_the_callers_own():
    """With tenants in one, a route that names none is about an unknown one."""
    assert RouteTable([Route("/x")]).match("GET", "/x").tenant == OWN_TENANT
    table = RouteTable([Route("/{tenant}/x"), Route("/me", tenant="~"), Route("/y")])
    assert table.tenancy
    found = [table.match("GET", path).tenant for path in ("/acme/x", "/me", "/y", "/none")]
    assert found == ["acme", "~", None, None]


def test_an_exempt_route_makes_no_tenancy():
    """A public page about tenants does not shut keys without one out of everything else."""
    assert not RouteTable([Route("/{tenant}/logo", auth="exempt")]).tenancy
    assert RouteTable([Route("/{tenant}/logo", auth="optional")]).tenancy


def by_header(_head):
    """Name models, as a function of a site might."""
    return ["a", "b"]


def test_a_model_may_be_told_by_the_body_or_a_function():
    """The table knows where to look; there is no model yet."""
    table = RouteTable(
        [Route("/chat", model="body(model, fallbacks[*])"), Route("/x", model=by_header)]
    )
    chat, other = table.match("POST", "/chat"), table.match("POST", "/x")
    assert (chat.model, chat.names_model, str(chat.body)) == (
        None,
        False,
        "body(model, fallbacks[*])",
    )
    assert (other.model, other.names_model, other.models_by) == (None, False, (by_header,))


@pytest.mark.parametrize(
    "model", [["{model}", "body(model)", by_header], ["body(model)", by_header], "body(model)"]
)
def test_a_field_of_the_path_is_a_model_beside_those_of_the_body(model):
    """All that a route says of the model must be permitted, so none of it replaces the field."""
    match = RouteTable([Route("/{model}/chat", model=model)]).match("POST", "/a/chat")
    assert (match.model, match.names_model, match.model_in_path) == ("a", True, True)
    assert str(match.body) == "body(model)"
    assert match.models_by == ((by_header,) if len(model) < 4 else ())


def test_a_setting_names_models_where_a_route_names_none():
    """A route that says anything of the model says all of it."""
    source = ModelSource.parse(["body(model)", by_header])
    routes = [Route("/{model}/x"), Route("/a", model="a"), Route("/b", model="body(b)")]
    table = RouteTable([*routes, Route("/c", scopes="c")], model_from=source)
    asked = {path: table.match("POST", path) for path in ("/m/x", "/a", "/b", "/c", "/d")}
    bodies = {path: match.body and str(match.body) for path, match in asked.items()}
    calls = {path: match.models_by for path, match in asked.items()}
    assert bodies == {
        "/m/x": None,
        "/a": None,
        "/b": "body(b)",
        "/c": "body(model)",
        "/d": "body(model)",
    }
    assert calls == {"/m/x": (), "/a": (), "/b": (), "/c": (by_header,), "/d": (by_header,)}


def test_a_setting_does_not_speak_for_a_path_with_a_slash_more_or_less():
    """Some routers take both for one view, whose model and tenant the path may name."""
    source = ModelSource.parse("body(model)")
    routes = [
        Route("/{tenant}/m/{model}", auth="optional"),
        Route("/c", model="body(c)", scopes="c"),
    ]
    table = RouteTable(routes, model_from=source, tenancy=True)
    match = table.match("POST", "/acme/m/a/")
    assert (match.names_model, match.model, match.body) == (True, None, None)
    assert (match.tenant_in_path, match.tenant) == (True, None)
    match = table.match("POST", "/c/")
    assert (match.names_model, match.body, match.scopes) == (True, None, ("c",))
    assert not match.tenant_in_path
    match = table.match("POST", "/d/")
    assert (match.names_model, str(match.body), match.tenant_in_path) == (
        False,
        "body(model)",
        False,
    )


def test_what_comes_from_the_path_is_known_as_that():
    """A raw path that says something else makes it unknown."""
    table = RouteTable([Route("/{a}/{tenant}", model="{a}"), Route("/x", model="x", tenant="~")])
    match = table.match("GET", "/m/acme")
    assert (match.names_model, match.model_in_path, match.tenant_in_path) == (True, True, True)
    match = table.match("GET", "/x")
    assert (match.names_model, match.model_in_path, match.tenant_in_path) == (True, False, False)


def test_tenants_may_be_named_without_any_route():
    """Then what no route names is not the caller's own."""
    table = RouteTable([Route("/me", tenant="~")], tenancy=True)
    assert [table.match("GET", path).tenant for path in ("/me", "/x")] == ["~", None]
    assert table.tenancy


@pytest.mark.parametrize("path", ["*/search", "*:search", "/v1/{x:path}/search", "/v1/a/search"])
def test_a_search_by_post_is_a_read_and_nothing_else_is(path):
    """Neither what is beneath or beside it, nor another method, nor another spelling of one."""
    end = ":search" if ":s" in path else "/search"
    table = RouteTable([Route(path, "POST", model="bill", access="read")])
    assert table.match("POST", f"/v1/a{end}").access == "read"
    others = ["{}/reindex", "{}/", "{}x", "{}/*", "{}.json", "{}%2Fx", "{};x", "{} "]
    asked = [("POST", other.format(f"/v1/a{end}")) for other in others]
    asked += [(method, f"/v1/a{end}") for method in ("PUT", "PATCH", "DELETE", "SEARCH", WEBSOCKET)]
    asked += [
        (method, f"/v1/a{end}") for method in ("post", "Post", "POST ", "PO\u017fT", "\uff30OST")
    ]
    asked += [("POST", f"/v1/a{end.upper()}"), ("POST", "/v1/research"), ("POST", "/v1/a/search/x")]
    assert [each for each in asked if table.match(*each).access == "read"] == []


def test_an_action_is_a_part_of_the_last_segment():
    """So that it is told apart from the thing that it is about."""
    routes = [Route("/v1/bills/{id}:cancel", "POST", scopes="cancel"), Route("/v1/bills/{id}")]
    table = RouteTable([*routes, Route("*:search", "POST", access="read", scopes="find")])
    asked = ("/v1/bills/7:cancel", "/v1/bills/7", "/v1/bills/7:cancel/x", "/v1/x:search")
    assert [table.match("POST", path).scopes for path in asked] == [("cancel",), (), (), ("find",)]


def test_the_first_route_wins_however_it_matches():
    """A pattern of how paths end has no rank of its own."""
    narrow, wide = Route("/v1/search", scopes="a"), Route("*/search", scopes="b")
    assert RouteTable([narrow, wide]).match("GET", "/v1/search").scopes == ("a",)
    assert RouteTable([wide, narrow]).match("GET", "/v1/search").scopes == ("b",)
    assert RouteTable([wide]).match("GET", "/v1/search/").scopes == ("b",), "demands hold alike"


def test_what_an_ending_opens_is_open_everywhere():
    """It says every path, so it is every path: also that of an application mounted elsewhere."""
    table = RouteTable([Route("*/health", auth="exempt")])
    open_paths = ("/health", "/v1/health", "/admin/health")
    assert {table.match("GET", path).auth for path in open_paths} == {"exempt"}
    guarded = ("/health/", "/health/x", "/healthz", "/xhealth", "/HEALTH")
    assert {table.match("GET", path).auth for path in guarded} == {"required"}


def test_tenants_of_an_ending_make_tenancy():
    """It may be about any path, guarded ones included."""
    assert RouteTable([Route("*/{tenant}/search")], protect=["/v1/*"]).tenancy


def test_what_no_route_names_is_guarded_where_protect_says_so():
    """The default is everything; another branch leaves the rest alone."""
    assert RouteTable().match("GET", "/anything").auth == "required"
    table = RouteTable(protect=("/v1/*",))
    guarded = {path: table.match("GET", path).auth for path in ("/v1", "/v1/a", "/v10", "/")}
    assert guarded == {"/v1": "required", "/v1/a": "required", "/v10": "exempt", "/": "exempt"}


def test_names_are_written_as_text_or_list_and_count_once():
    """Both mean the same."""
    assert Route("/x", "GET POST", scopes="a b a") == Route(
        "/x", ["POST", "GET"], scopes=["a", "b"]
    )


def test_a_table_remembers_a_bounded_number_of_matches():
    """Clients that invent paths cannot fill the memory, nor change an answer."""
    table = RouteTable([Route("/{model}")], memo_max=4)
    for number in [*range(20), *range(20)]:
        assert table.match("GET", f"/m{number}").model == f"m{number}"
