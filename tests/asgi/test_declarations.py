"""When and how the routers of FastAPI are read into the table of a guard."""

from __future__ import annotations

import gc
import weakref
from importlib.metadata import version
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Router
from starlette.routing import Route as StarletteRoute

from keybound import Guard, InputError, Limits, Reason, Settings, SettingsError
from keybound.engine import Engine
from keybound.fastapi import init_app, requires
from keybound.stores import open_store
from keybound.testing import FakeClock
from tests.asgi.test_fastapi import nothing

NESTED = tuple(map(int, version("fastapi").split(".")[:2])) > (0, 115)
"""Whether what joins a router joins the applications that included it."""


# ---------------------------------------------------------------------------- without a request


def test_routes_are_there_without_a_start(app: FastAPI, guard: Guard):
    """Whoever only imports the guard explains and issues under what the application requires."""
    app.add_api_route("/v1/{tenant}/a", nothing, dependencies=[requires("a", model="message")])
    assert guard.engine.table.tenancy
    match = guard.engine.table.match("GET", "/v1/acme/a")
    assert match is not None
    assert (match.scopes, match.model, match.tenant) == (("a",), "message", "acme")
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(scopes="a"))
    explained = guard.explain(issued.id, "GET", "/v1/evil/a")
    assert explained.reason is Reason.TENANT_MISMATCH


def test_guard_with_another_engine_reads_the_routes_again():
    """Whatever engine a guard is bound to, the routes are there as soon as one asks."""
    guard = Guard.from_settings(database="memory://", protect=["/v1/*"]).to_async()
    bound = FastAPI()
    init_app(bound, guard)
    bound.add_api_route("/v1/b", nothing, dependencies=[requires("b")])
    client = TestClient(bound)
    assert client.get("/v1/b").status_code == 401
    settings = Settings(database="memory://", protect=("/v1/*",))
    other = Engine(settings, open_store("memory://"), FakeClock(), background=False)
    guard.bind(other)
    issued = Guard(other).issue(name="CI")
    answer = client.get("/v1/b", headers={"Authorization": f"Bearer {issued.secret.reveal()}"})
    assert answer.json()["scopes"] == ["b"]
    bound.add_api_route("/v1/c", nothing, dependencies=[requires("c")])
    match = other.table.match("GET", "/v1/c")
    assert match is not None
    assert match.scopes == ("c",)


def test_application_that_is_gone_leaves_nothing(guard: Guard):
    """A guard outlives an application, and keeps neither it nor its routes alive."""
    app = FastAPI()
    init_app(app, guard.to_async())
    app.add_api_route("/v1/a", nothing, dependencies=[requires("a")])
    TestClient(app).get("/v1/a")
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None
    assert guard.engine.table is not None


# ------------------------------------------------------------------------- after the first request


def test_replaced_route_is_read_again(app: FastAPI, client: TestClient, guard: Guard):
    """A route that takes the place of another counts, as soon as somebody asks for the table."""
    app.add_api_route("/v1/a", nothing, dependencies=[requires("old")])
    assert client.get("/v1/a").status_code == 401
    app.router.add_api_route("/v1/a", nothing, dependencies=[requires("new")])
    app.router.routes[-2] = app.router.routes.pop()
    match = guard.engine.table.match("GET", "/v1/a")
    assert match is not None
    assert match.scopes == ("new",)


@pytest.mark.parametrize("how", ["included", "mounted"])
def test_route_that_joins_deep_inside_is_noticed(
    app: FastAPI, client: TestClient, guard: Guard, key: Any, how: str
):
    """A route of a router that was included already is found when the table does not have it."""
    inner: Any
    if how == "included":
        if not NESTED:
            return
        inner = APIRouter(prefix="/v1/in")
        inner.add_api_route("/first", nothing)
        app.include_router(inner)
        start = ""
    else:
        inner = FastAPI()
        app.mount("/v1/in", inner)
        start = "/v1/in"
    reader = key(models={"message": "read"})
    assert client.get("/v1/in/first", headers=reader).status_code == 403
    inner.add_api_route("/later", nothing, dependencies=[requires("a", model="message")])
    assert client.get("/v1/elsewhere", headers=reader).status_code == 403
    assert client.get(f"{start}/later" if start else "/v1/in/later").status_code == 401
    match = guard.engine.rules.table.match("GET", "/v1/in/later")
    assert match is not None
    assert (match.scopes, match.model) == (("a",), "message")


def test_unreadable_route_that_is_added_later_is_unavailable(
    app: FastAPI, client: TestClient, key: Any, caplog: Any
):
    """Contradicting demands after the start close the application, which says why, and no more."""
    app.add_api_route("/v1/a", nothing)
    assert client.get("/v1/a", headers=key()).status_code == 200
    wrong = [requires(model="a"), requires(model="b")]
    app.add_api_route("/v1/wrong", nothing, dependencies=wrong)
    for path in ("/v1/a", "/v1/wrong", "/open"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "keybound-denial" in answer.headers
    assert "/v1/wrong requires a and b" in caplog.text
    app.router.routes.pop()
    assert client.get("/v1/a", headers=key()).status_code == 200


# ------------------------------------------------------------------ where nothing would be guarded


@pytest.mark.parametrize("path", ["/v2/x", "/v2/{id}/x", "/v2/{id:int}"])
def test_application_of_which_nothing_is_guarded_does_not_start(path: str):
    """A typing error in ``protect`` opens nothing, whatever documents there are."""
    guard = Guard.from_settings(database="memory://", protect=["/v1/*", "/docs"])
    app = FastAPI()
    init_app(app, guard.to_async())
    app.add_api_route(path, nothing)
    text = r"protect: /v1/\*, /docs guards no route of the application"
    with pytest.raises(SettingsError, match=text), TestClient(app):
        pass


def test_application_of_which_nothing_is_guarded_does_not_serve_without_a_start(
    app: FastAPI, client: TestClient, caplog: Any
):
    """The log says so once; a route that is guarded ends it."""
    assert client.get("/docs").status_code == 200
    app.add_api_route("/v2/x", nothing)
    for _ in range(2):
        for path in ("/v2/x", "/docs", "/v1/x"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "keybound-denial" in answer.headers
    assert caplog.text.count("guards no route of the application") == 1
    app.add_api_route("/v2/y", nothing, dependencies=[requires("y")])
    assert client.get("/v2/y").status_code == 401


@pytest.mark.parametrize("path", ["/v1/x", "/{id}", "/{rest:path}"])
def test_application_of_which_something_may_be_guarded_starts(app: FastAPI, path: str):
    """What may be under a pattern counts."""
    app.add_api_route("/v2/x", nothing)
    app.add_api_route(path, nothing)
    with TestClient(app):
        pass


def test_application_with_something_mounted_that_may_be_guarded_starts(app: FastAPI):
    """Nobody knows what a mounted application serves."""
    app.add_api_route("/v2/x", nothing)
    app.mount("/v1", PlainTextResponse("mounted"))
    with TestClient(app):
        pass


# ------------------------------------------------------------------------------ what is declared


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_change_cannot_be_declared_a_reading(app: FastAPI, method: str):
    """``access="read"`` around a whole router does not let keys that only read delete things."""
    router = APIRouter(prefix="/v1", dependencies=[requires(access="read")])
    for harmless in ("GET", "HEAD", "OPTIONS", "POST"):
        router.add_api_route("/a", nothing, methods=[harmless])
    app.include_router(router)
    with TestClient(app):
        pass
    app.include_router(APIRouter())
    changing = APIRouter(prefix="/v1", dependencies=[requires(access="read")])
    changing.add_api_route("/a/{x}", nothing, methods=["POST", method])
    app.include_router(changing)
    named = rf"'read' for {method} of /v1/a/{{x}}"
    with pytest.raises(InputError, match=named), TestClient(app):
        pass


def test_change_that_says_so_starts(app: FastAPI, client: TestClient, key: Any):
    """The strictest demand counts: an operation that writes may be in a router that reads."""
    router = APIRouter(prefix="/v1", dependencies=[requires(access="read")])
    writing = [requires(access="write")]
    router.add_api_route("/a", nothing, methods=["DELETE"], dependencies=writing)
    app.include_router(router)
    assert client.delete("/v1/a", headers=key(read_only=True)).status_code == 403
    assert client.delete("/v1/a", headers=key()).status_code == 200


class Lowered(Convertor[str]):
    """A site's own convertor, which makes two spellings one."""

    regex = "[A-Za-z]+"

    def convert(self, value: str) -> str:
        """Return small letters."""
        return value.lower()

    def to_string(self, value: str) -> str:
        """Return them."""
        return value


register_url_convertor("lowered", Lowered())

UUID = "0a0b0c0d-0000-0000-0000-00000000000a"


@pytest.mark.parametrize(
    ("kind", "name", "other"),
    [
        ("int", "7", "007"),
        ("uuid", UUID, UUID.upper()),
        ("uuid", UUID, UUID.replace("-", "")),
        ("float", "7", "7.0"),
        ("lowered", "invoice", "Invoice"),
    ],
)
@pytest.mark.parametrize("mounted", [False, True], ids=["routed", "mounted"])
def test_name_counts_as_the_application_gets_it(
    app: FastAPI,
    client: TestClient,
    key: Any,
    kind: str,
    name: str,
    other: str,
    mounted: bool,  # noqa: FBT001
):
    """A second spelling of a model or tenant is no name at all: ``007`` arrives as 7."""
    inner = FastAPI() if mounted else app
    start = "" if mounted else "/v1/m"
    inner.add_api_route(f"{start}/{{model:{kind}}}/x", nothing, dependencies=[requires("a")])
    if mounted:
        app.mount("/v1/m", inner)
    both: dict[str, Any] = {"scopes": "a", "models": {name: "read", other: "read"}}
    assert client.get(f"/v1/m/{name}/x", headers=key(**both)).status_code == 200
    refused = client.get(f"/v1/m/{other}/x", headers=key(**both))
    assert refused.json()["reason"] == "model_unresolved"
    # Whoever is not limited in models passes, with the demands of the route.
    assert client.get(f"/v1/m/{other}/x", headers=key(scopes="a")).status_code == 200
    assert client.get(f"/v1/m/{other}/x", headers=key()).json()["scopes"] == ["a"]


def test_second_spelling_of_one_name_leaves_the_other(app: FastAPI, client: TestClient, key: Any):
    """Tenant and model are looked at on their own, and in templates too."""
    demands = [requires(tenant="{domain}/{user}", model="kind-{kind}")]
    app.add_api_route("/v1/{domain}/{user:int}/{kind:int}", nothing, dependencies=demands)
    everyone, limited = key(tenants="*"), key(tenants="*", models={"kind-1": "read"})
    assert client.get("/v1/acme/7/1", headers=limited).status_code == 200
    assert client.get("/v1/acme/7/01", headers=everyone).status_code == 200
    assert client.get("/v1/acme/7/01", headers=limited).json()["reason"] == "model_unresolved"
    for path in ("/v1/acme/07/1", "/v1/acme/07/01"):
        assert client.get(path, headers=everyone).json()["reason"] == "tenant_unresolved"


def test_number_that_nobody_can_read_is_refused(app: FastAPI, client: TestClient, key: Any):
    """A convertor that fails on what it matched makes no name."""
    app.add_api_route("/v1/{model:int}", nothing)
    limited = key(models={"7": "read"})
    assert client.get("/v1/" + "9" * 5_000, headers=limited).status_code == 403


@pytest.mark.parametrize(("root", "status"), [("/v1/in", 200), ("/v1/in/a", 403), ("/other", 403)])
def test_mounted_application_with_its_own_root_path(
    app: FastAPI, client: TestClient, key: Any, root: str, status: int
):
    """An application that sees other paths than the table is not believed by its paths."""
    inner = FastAPI()
    inner.root_path = root  # later versions of FastAPI warn of the argument
    inner.add_api_route("/a/{model}", nothing, methods=["POST"])
    inner.add_api_route("/{model}", nothing, methods=["POST"])
    app.mount("/v1/in", inner)
    limited = key(models={"message": "write"})
    assert client.post("/v1/in/a/message", headers=limited).status_code == status
    assert client.post("/v1/in/a/device", headers=limited).status_code == 403


# ------------------------------------------------------------------- what more than a path chooses


class OfStaff(StarletteRoute):
    """A route that the host chooses besides."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """Match nothing for other hosts."""
        here = (b"host", b"staff") in scope["headers"]
        return super().matches(scope) if here else (Match.NONE, {})


async def erase(_request: Any) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("erased")


@pytest.mark.parametrize("below", ["", "/v1"])
@pytest.mark.parametrize("own_kind", [False, True])
def test_favours_are_not_for_what_another_host_serves(
    app: FastAPI, client: TestClient, key: Any, *, below: str, own_kind: bool
):
    """Where a host decides as well, no route makes the POST of the other one a read."""
    inner = FastAPI() if below else app
    path = "/v1/search".removeprefix(below)
    other: BaseRoute = (OfStaff if own_kind else StarletteRoute)(path, erase, methods=["POST"])
    inner.router.routes.append(other if own_kind else Host("staff", Router([other])))
    inner.add_api_route(
        path, nothing, methods=["POST"], dependencies=[requires("a", model="b", access="read")]
    )
    if below:
        app.mount(below, inner)
    reading = key(scopes="a", read_only=True)
    writing = key(scopes="a", models={"b": "write"})
    for host in ("staff", "here"):
        for headers in (reading, writing):
            answer = client.post("/v1/search", headers={**headers, "host": host})
            assert answer.status_code == 403
    assert client.post("/v1/search", headers={**key(scopes="a"), "host": "here"}).text == '"served"'
    assert client.post("/v1/search", headers=key()).json()["scopes"] == ["a"]
