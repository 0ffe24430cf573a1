"""Declared routes: what an application's own router says narrows, and opens nothing."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from keybound.core.declared import Arguments, DeclaredRoute, argument_text
from keybound.core.errors import InputError
from keybound.core.facts import WEBSOCKET
from keybound.core.patterns import compile_path
from keybound.core.routes import Route
from keybound.core.table import RouteTable


def declared(path, methods=("GET",), **members):
    """Return a declared route with the expression of a pattern."""
    return DeclaredRoute(path, compile_path(path), methods, **members)


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT", "LOCK", "TEND"])
def test_a_changing_method_never_only_reads(method):
    """An application that calls all its routes reading is stopped at the one that is not."""
    with pytest.raises(InputError, match=f"'read' for {method} of /x"):
        declared("/x", ["GET", method], access="read")


def test_route_whose_router_is_asked_matches_nothing_by_itself():
    """It has the names of the fields, and no expression."""
    route = DeclaredRoute("/x/{a}", Arguments.named(["a"]), ["GET"], model="{a}")
    found = RouteTable([route]).match("GET", "/x/1")
    assert (found.route, found.model) == (None, None)


def test_reading_needs_named_methods():
    """As for configured routes, 'read' for all methods would include DELETE."""
    with pytest.raises(InputError, match="DELETE included"):
        declared("/x", None, access="read")
    assert (
        RouteTable([declared("/x", ["POST"], access="read")]).match("POST", "/x").access == "read"
    )


def test_a_declared_route_opens_nothing_that_is_guarded():
    """``auth`` is the least that holds; ``protect`` says the most."""
    route = declared("/v1/x", auth="exempt")
    assert RouteTable([route]).match("GET", "/v1/x").auth == "required"
    assert RouteTable([route], protect=()).match("GET", "/v1/x").auth == "exempt"
    guarded = declared("/v1/x", auth="required")
    assert RouteTable([guarded], protect=()).match("GET", "/v1/x").auth == "required"
    configured = Route("/v1/x", auth="exempt")
    assert RouteTable([configured, guarded]).match("GET", "/v1/x").auth == "exempt"


@pytest.mark.parametrize(
    ("methods", "answered"),
    [
        (None, ["GET", "HEAD", "POST"]),
        (["GET"], ["GET"]),
        (["GET", "HEAD"], ["GET", "HEAD"]),
        ([WEBSOCKET], [WEBSOCKET]),
    ],
    ids=str,
)
def test_it_answers_what_its_router_answers(methods, answered):
    """No HEAD unless the router says so, no WebSocket unless it is one."""
    route = declared("/x", methods)
    assert [each for each in ("GET", "HEAD", "POST", WEBSOCKET) if route.answers(each)] == answered


def test_it_matches_by_the_expression_of_its_router():
    """The path is for people; fields come from the expression."""
    route = DeclaredRoute("/items/{id}", re.compile(r"/items/(?P<model>[0-9]+)"), ["GET"])
    table = RouteTable([route])
    assert table.match("GET", "/items/7").model == "7"
    assert table.match("GET", "/items/x").model is None


def test_what_is_unresolved_stays_unknown_whatever_the_fields_are():
    """A field of that name does not answer for a fact that the router cannot tell."""
    route = declared("/{tenant}/{model}", scopes=["a"], unresolved=("tenant", "model"))
    assert (route.tenant, route.model, route.scopes) == (None, None, ("a",))
    assert (declared("/{tenant}/{model}").tenant) == "{tenant}"


def test_a_guarded_declared_route_makes_tenancy():
    """Where it is guarded, requests are about tenants."""
    assert RouteTable([declared("/{tenant}")]).tenancy
    assert not RouteTable([declared("/{tenant}")], protect=()).tenancy


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("acme", "acme"),
        ("", ""),
        (7, "7"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        *((value, None) for value in (None, True, 1.5, b"acme", ["acme"], ("acme",))),
    ],
    ids=repr,
)
def test_an_argument_of_a_view_is_text_where_that_is_as_it_is_written(value, text):
    """Of what a converter made something else of, nobody knows how it was written."""
    assert argument_text(value) == text
