"""What an application of FastAPI has within it: whatever is around it, the same limits hold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from flask import current_app
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.routing import Match, Mount, Route, Router

import keybound
from keybound import Guard
from keybound.fastapi import CurrentKey, init_app, requires
from keybound.starlette import APIKeyMiddleware, require
from tests.asgi.test_fastapi import nothing
from tests.asgi.test_inside import Overriding

if TYPE_CHECKING:
    from collections.abc import Callable


async def of_tenant(tenant: str) -> str:
    """Answer with a tenant's data."""
    return f"data of {tenant}"


def about_tenants(start: str = "") -> FastAPI:
    """Return an application of which one path is about a tenant, and says so by its name alone."""
    inner = FastAPI()
    inner.add_api_route(start + "/t/{tenant}/items", of_tenant)
    return inner


def in_a_function(app: Any) -> Any:
    """Return a function around an application."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return serve


async def serve(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Serve one connection by an application."""
    await app(scope, receive, send)


def by_default(app: Any) -> Any:
    """Return a function whose parameter is the application unless said."""

    async def serve(scope: Any, receive: Any, send: Any, *, inner: Any = app) -> None:
        await inner(scope, receive, send)

    return serve


OF_THE_MODULE: Any = None


def in_a_global(app: Any) -> Any:
    """Return a function that knows the application by the name that the module has for it."""
    globals()["OF_THE_MODULE"] = app

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await OF_THE_MODULE(scope, receive, send)

    return serve


async def call_app(self: Any, scope: Any, receive: Any, send: Any) -> None:
    """Serve one connection by the application of an object."""
    await self.app(scope, receive, send)


class Private:
    """Shows what it has by a property alone."""

    __slots__ = ("__app",)

    def __init__(self, app: Any) -> None:
        """Stand around an application."""
        self.__app = app

    @property
    def app(self) -> Any:
        """Return it."""
        return self.__app

    __call__ = call_app


class Crowded:
    """Has many functions besides the application."""

    def __init__(self, app: Any) -> None:
        """Stand around an application."""
        vars(self)["handlers"] = {number: partial(print, number) for number in range(200)}
        self.app = app

    __call__ = call_app


class Slotted:
    """Has no dictionary."""

    __slots__ = ("inner",)

    def __init__(self, app: Any) -> None:
        """Stand around an application."""
        self.inner = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        await self.inner(scope, receive, send)


class Listing:
    """Has its applications in a list, beside what cannot be asked for anything."""

    def __init__(self, app: Any) -> None:
        """Have one of them."""
        self.applications = [app]
        self.current = current_app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        await self.applications[0](scope, receive, send)


class Choosing:
    """Sends requests to one of its applications, and knows the one that it is in."""

    def __init__(self, first: Any, second: Any) -> None:
        """Begin without that one."""
        self.first, self.second = first, second
        self.outer: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        second = dict(scope["headers"]).get(b"x-second") == b"1"
        await (self.second if second else self.first)(scope, receive, send)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda app: app,
    "compressed": GZipMiddleware,
    "twice": lambda app: GZipMiddleware(GZipMiddleware(app)),
    "hidden": Overriding,
    "in a function": in_a_function,
    "in a partial": partial,
    "in a partial's arguments": lambda app: partial(serve, app),
    "in a method": lambda app: Overriding(app).__call__,
    "in a default": by_default,
    "in a global": in_a_global,
    "in a class": lambda app: type("Gate", (), {"app": app, "__call__": call_app})(),
    "in a property": Private,
    "beside much": Crowded,
    "in a slot": Slotted,
    "in a list": Listing,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_tenants_of_what_is_mounted_are_known(
    app: FastAPI, client: TestClient, key: Any, wrap: Any
):
    """Its paths are read, though other middleware stands around it."""
    app.mount("/v1", wrap(about_tenants()))
    headers = key()
    assert client.get("/v1/t/acme/items", headers=headers).json() == "data of acme"
    assert client.get("/v1/t/evil/items", headers=headers).json()["reason"] == "tenant_mismatch"


def test_tenants_of_what_cannot_be_read_are_unknown(app: FastAPI, client: TestClient, key: Any):
    """Behind a host, and where one of several is chosen, a name alone opens nothing."""
    choosing = Choosing(about_tenants(), FastAPI())
    choosing.outer = app
    app.mount("/v1/either", choosing)
    app.host("api.example", about_tenants("/v1"))
    headers = key()
    for start, host in (("/v1/either", "other.example"), ("/v1", "api.example")):
        for tenant in ("acme", "evil"):
            path = f"{start}/t/{tenant}/items"
            answer = client.get(path, headers={**headers, "host": host})
            assert answer.json()["reason"] == "tenant_unresolved"


def test_tenant_that_a_dependency_names_is_known_behind_a_host(
    app: FastAPI, client: TestClient, key: Any
):
    """It looks at it by itself."""
    hosted = FastAPI()
    hosted.add_api_route(
        "/v1/t/{tenant}/items", of_tenant, dependencies=[requires(tenant="{tenant}")]
    )
    app.host("api.example", hosted)
    headers = {**key(), "host": "api.example"}
    assert client.get("/v1/t/acme/items", headers=headers).json() == "data of acme"
    assert client.get("/v1/t/evil/items", headers=headers).json()["reason"] == "tenant_mismatch"


AROUND: dict[str, Callable[[FastAPI, FastAPI], None]] = {
    "its own": lambda app, inner: app.mount("/v1/in", overridden(inner)),
    "of the mount": lambda app, inner: app.router.routes.append(
        Mount("/v1/in", inner, middleware=[Middleware(Overriding)])
    ),
    "of a mount of routes": lambda app, inner: app.router.routes.append(
        Mount("/v1/in", routes=inner.routes, middleware=[Middleware(Overriding)])
    ),
    "around it": lambda app, inner: app.mount("/v1/in", Overriding(inner)),
    "in depth": lambda app, inner: app.mount("/v1", around_once_more(inner)),
}


def overridden(inner: FastAPI) -> FastAPI:
    """Return it with middleware of its own."""
    inner.add_middleware(Overriding)
    return inner


def around_once_more(inner: FastAPI) -> FastAPI:
    """Return an application in which it is mounted."""
    outer = FastAPI()
    outer.mount("/in", Overriding(inner))
    return outer


@pytest.mark.parametrize("install", AROUND.values(), ids=AROUND)
def test_what_middleware_of_a_mounted_application_changes_is_decided_too(
    app: FastAPI, client: TestClient, key: Any, install: Any
):
    """A method, and a path: each key needs to be allowed both."""
    inner = FastAPI()
    inner.add_api_route("/a", nothing, methods=["POST"], dependencies=[requires(access="read")])
    inner.add_api_route("/a", nothing, methods=["DELETE"])
    inner.add_api_route("/b", nothing, methods=["POST"])
    install(app, inner)
    reads, posts = key(read_only=True), key(methods="POST")
    assert client.post("/v1/in/a", headers=reads).status_code == 200
    assert client.post("/v1/in/a", headers=posts).status_code == 200
    for headers, changed in (
        (reads, {"x-method": "DELETE"}),
        (reads, {"x-path": "/v1/in/b"}),
        (posts, {"x-method": "DELETE"}),
    ):
        answer = client.post("/v1/in/a", headers={**headers, **changed})
        assert (answer.status_code, answer.json()["reason"]) == (403, "method_not_allowed")
    for changed in ({"x-method": "DELETE"}, {"x-path": "/v1/in/b"}):
        assert client.post("/v1/in/a", headers={**key(), **changed}).status_code == 200


def test_mounted_application_can_be_served_by_itself(app: FastAPI, client: TestClient, key: Any):
    """Nothing is guarded there, since nobody guards it."""
    inner = FastAPI()
    inner.add_middleware(Overriding)
    inner.add_api_route("/a", nothing)
    app.mount("/v1", inner)
    assert client.get("/v1/a", headers=key()).status_code == 200
    assert TestClient(inner).get("/b", headers={"x-path": "/a"}).status_code == 200


@pytest.mark.parametrize("inside", [False, True], ids=["the application's", "a mounted one's"])
def test_prefix_that_moves_to_the_root_path_is_decided_too(guard: Guard, key: Any, inside: bool):  # noqa: FBT001
    """The router sees another path then, whatever the two make together."""

    class Moving:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            given = dict(scope.get("headers", ())).get(b"x-forwarded-prefix", b"").decode()
            root = scope.get("root_path", "") + given
            await self.app({**scope, "root_path": root}, receive, send)

    app, inner = FastAPI(), FastAPI()
    changed = inner if inside else app
    changed.add_middleware(Moving)
    changed.add_api_route("/v1/admin", nothing, dependencies=[requires("admin")])
    changed.add_api_route("/open/v1/admin", nothing)
    if inside:
        app.mount("/v1/in", inner)
        app.add_api_route("/v1/other", nothing)
    init_app(app, guard.to_async())
    client, start = TestClient(app), "/v1/in" if inside else ""
    moved = {"x-forwarded-prefix": "/open"}
    path = f"{start}/open/v1/admin"
    assert client.get(path, headers=key()).status_code == 200
    refused = client.get(path, headers={**key(), **moved})
    assert refused.json()["reason"] == "insufficient_scope"
    assert client.get(path, headers={**key(scopes="admin"), **moved}).status_code == 200
    if not inside:
        assert client.get(path, headers=moved).status_code == 401
        stripped = {"x-forwarded-prefix": "/api"}  # which the proxy has taken away
        assert client.get("/v1/admin", headers={**key(scopes="admin"), **stripped}).is_success


def test_request_whose_scope_was_replaced_is_not_served(guard: Guard, key: Any):
    """Nobody could say what was decided on."""

    class Copying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            names = ("type", "method", "headers", "query_string", "asgi", "http_version")
            kept = {name: scope[name] for name in names if name in scope}
            await self.app({**kept, "path": "/v1/t/evil/items"}, receive, send)

    app = FastAPI()
    app.add_middleware(Copying)
    init_app(app, guard.to_async())
    app.add_api_route("/v1/t/{tenant}/items", of_tenant)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/v1/t/acme/items", headers=key()).status_code == 500


def test_routes_that_join_what_is_wrapped_are_read(app: FastAPI, client: TestClient, key: Any):
    """When a verb is called, as for what is mounted without anything around it."""
    inner = FastAPI()
    app.mount("/v1/in", in_a_function(inner))
    assert client.get("/v1/in/t/evil/items", headers=key()).status_code == 404
    inner.add_api_route("/t/{tenant}/items", of_tenant)
    headers = key()
    assert client.get("/v1/in/t/acme/items", headers=headers).status_code == 200
    refused = client.get("/v1/in/t/evil/items", headers=headers)
    assert refused.json()["reason"] == "tenant_mismatch"


def test_host_that_names_a_tenant_names_none_in_advance(app: FastAPI, client: TestClient, key: Any):
    """Its field is one of the routes behind it."""
    hosted = FastAPI()
    hosted.add_api_route("/v1/items", of_tenant)
    app.host("{tenant}.example", hosted)
    answer = client.get("/v1/items", headers={**key(), "host": "evil.example"})
    assert answer.json()["reason"] == "tenant_unresolved"


class Incomparable:
    """Is equal to nothing, and cannot even be asked."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        """Raise."""
        raise ValueError(other)


class Renaming(Overriding):
    """The same, and one can see what it is around."""

    def __init__(self, app: Any) -> None:
        """Stand around ``app``."""
        self.table = Incomparable()
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        assert self.table is not None
        await Overriding(self.app)(scope, receive, send)


def in_a_function_of_its_own(app: Any) -> Any:
    """Return a function that does the same."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await Overriding(app)(scope, receive, send)

    return serve


@pytest.mark.parametrize("kind", [Renaming, Overriding, in_a_function_of_its_own])
@pytest.mark.parametrize("changed", [{"x-method": "DELETE"}, {"x-path": "/v1/in/b"}], ids=str)
def test_middleware_of_a_router_is_looked_behind(
    app: FastAPI, client: TestClient, key: Any, kind: Any, changed: dict[str, str]
):
    """It stands between the mount and the routes, as that of an application does."""
    inner = FastAPI()
    inner.add_api_route("/a", nothing, methods=["POST"], dependencies=[requires(access="read")])
    inner.add_api_route("/a", nothing, methods=["DELETE"])
    inner.add_api_route("/b", nothing, methods=["POST"])
    router = Router(inner.routes, middleware=[Middleware(GZipMiddleware), Middleware(kind)])
    app.mount("/v1/in", router)
    headers = key(read_only=True)
    assert client.post("/v1/in/a", headers=headers).status_code == 200
    refused = client.post("/v1/in/a", headers={**headers, **changed})
    assert refused.json()["reason"] == "method_not_allowed"


@pytest.mark.parametrize("around", [False, True], ids=["within it", "around it"])
def test_guard_of_a_mounted_application_has_the_last_word(
    guard: Guard,
    key: Any,
    around: bool,  # noqa: FBT001 - a parameter of the test
):
    """What its own middleware changes is decided by it, and the identity is its."""
    inner_guard = Guard.from_settings(database="memory://", credentials=["header(X-Inner)"])
    app, inner = FastAPI(), FastAPI()
    if not around:
        inner.add_middleware(Overriding)
    init_app(inner, inner_guard.to_async())
    app.mount("/v1/in", Overriding(inner) if around else inner)
    init_app(app, guard.to_async())

    @inner.get("/who")
    async def who(key: CurrentKey) -> list[str]:
        current = keybound.current_key()
        return [key.name, current.name if current else "nobody"]

    issued = inner_guard.issue(name="inner", tenant="acme")
    headers = {**key(), "X-Inner": issued.secret.reveal(), "x-client": "192.0.2.1"}
    assert TestClient(app).get("/v1/in/who", headers=headers).json() == ["inner", "inner"]


@pytest.mark.parametrize(
    "changed",
    [{"x-method": "DELETE"}, {"x-client": "192.0.2.1"}],
    ids=lambda each: next(iter(each)),
)
def test_guard_around_a_guarded_application_is_asked_as_well(
    guard: Guard, key: Any, changed: dict[str, str]
):
    """What middleware between the two changes is decided by both."""
    inner_guard = Guard.from_settings(database="memory://", protect=["/key"])
    app, inner = FastAPI(), FastAPI()
    inner.add_api_route("/key", nothing)
    inner.add_api_route("/pub", nothing, methods=["GET", "DELETE"])
    init_app(inner, inner_guard.to_async())
    inner.add_middleware(Overriding)
    app.mount("/v1/in", inner)
    init_app(app, guard.to_async())
    client = TestClient(app, client=("203.0.113.9", 1))
    limited = key(read_only=True, networks="203.0.113.0/24")
    assert client.get("/v1/in/pub", headers=limited).status_code == 200
    assert client.get("/v1/in/pub", headers={**limited, **changed}).status_code == 403
    assert client.get("/v1/in/pub", headers={**key(), **changed}).status_code == 200


def test_middleware_in_the_place_of_a_router_is_looked_behind(guard: Guard, key: Any):
    """However it came there."""
    app = FastAPI()
    app.add_api_route("/v1/a", nothing, methods=["GET", "DELETE"])
    app.router.middleware_stack = Overriding(app.router.middleware_stack)
    init_app(app, guard.to_async())
    client, limited = TestClient(app), key(read_only=True)
    assert client.get("/v1/a", headers=limited).status_code == 200
    assert client.get("/v1/a", headers={**limited, "x-method": "DELETE"}).status_code == 403


def test_first_mount_may_join_while_requests_are_served(guard: Guard, key: Any):
    """Those that came before it are served all the same."""
    app = FastAPI()
    app.add_api_route("/v1/a", nothing)
    app.add_api_route("/v1/b", nothing)
    init_app(app, guard.to_async())
    client = TestClient(app)
    assert client.get("/v1/a", headers=key()).status_code == 200
    app.router.routes[-1] = Mount("/v1/in", FastAPI())
    assert client.get("/v1/a", headers=key()).status_code == 200


def test_application_that_is_mounted_in_itself_starts(app: FastAPI, client: TestClient, key: Any):
    """What leads back is not followed for ever."""
    app.add_api_route("/v1/a", nothing, dependencies=[requires("a")])
    app.mount("/v1/again", app)
    assert client.get("/v1/a", headers=key(scopes="a")).status_code == 200


class Versioned(APIRouter):
    """A router that is chosen by a header as well."""

    def matches(self, scope: Any) -> Any:
        """Match the second version alone."""
        if dict(scope["headers"]).get(b"x-version") != b"2":
            return Match.NONE, {}
        return super().matches(scope)


@pytest.mark.skipif(not hasattr(APIRouter, "matches"), reason="FastAPI includes routes one by one")
def test_router_that_may_not_be_meant_gives_nothing(app: FastAPI, client: TestClient, key: Any):
    """What it says of a path is not said of another router's."""
    second, first = Versioned(), APIRouter()
    second.add_api_route(
        "/v1/search", nothing, methods=["POST"], dependencies=[requires(access="read")]
    )
    first.add_api_route("/v1/search", nothing, methods=["POST"])
    app.include_router(second)
    app.include_router(first)
    for version in ("1", "2"):
        headers = {**key(read_only=True), "x-version": version}
        assert client.post("/v1/search", headers=headers).json()["reason"] == "method_not_allowed"


def test_mount_whose_end_only_the_router_knows_gives_nothing(
    app: FastAPI, client: TestClient, key: Any
):
    """Its field may hold slashes, so one path can be split in two ways."""
    inner = FastAPI()
    inner.add_api_route(
        "/{rest:path}/search", nothing, methods=["POST"], dependencies=[requires(access="read")]
    )
    inner.add_api_route("/search", nothing, methods=["POST"])
    app.mount("/v1/{org:path}/x", inner)
    headers = key(read_only=True)
    for path in ("/v1/a/x/search", "/v1/a/x/b/x/search"):
        assert client.post(path, headers=headers).json()["reason"] == "method_not_allowed"


# --------------------------------------------------------------------------------- rewritten paths


class Stripping:
    """Takes the start of a path away, and gives one tenant's paths another form."""

    def __init__(self, app: Any) -> None:
        """Stand around an application."""
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix("/v1").replace("/o/", "/tenants/")
            scope = {**scope, "path": path}
        await self.app(scope, receive, send)


def test_identity_outlives_a_path_that_needs_none(guard: Guard):
    """The key was demanded, so the view is told of it; and that is one use."""
    app = FastAPI()
    app.add_middleware(Stripping)
    init_app(app, guard.to_async())

    @app.get("/me")
    async def me(request: Request) -> list[str | None]:
        current = keybound.current_key()
        return [request.scope["keybound"].name, current.name if current else None]

    app.add_api_route("/v1/other", nothing)
    issued = guard.issue(name="CI", tenant="acme")
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    client = TestClient(app)
    for _ in range(2):
        assert client.get("/v1/me", headers=headers).json() == ["CI", "CI"]
    assert guard.engine.counts.uses == 2
    assert client.get("/v1/me").status_code == 401


def test_what_is_done_on_a_path_that_needs_none_is_held_to_the_key(guard: Guard, key: Any):
    """A method that changes with the path is one that the key was not asked about."""

    class Deleting(Stripping):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await super().__call__(scope | {"method": "DELETE"}, receive, send)

    app = FastAPI()
    app.add_middleware(Deleting)
    init_app(app, guard.to_async())
    app.add_api_route("/me", nothing, methods=["DELETE"])
    app.add_api_route("/v1/other", nothing)
    client = TestClient(app)
    assert client.get("/v1/me", headers=key()).json() == "served"
    refused = client.get("/v1/me", headers=key(methods="GET"))
    assert refused.json()["reason"] == "method_not_allowed"


def test_tenant_of_a_path_that_the_application_wrote_is_known(guard: Guard, key: Any):
    """What came was decided by itself."""
    app = FastAPI()
    app.add_middleware(Stripping)
    init_app(app, guard.to_async())
    app.add_api_route("/v1/o/{tenant}/items", of_tenant)
    app.add_api_route("/tenants/{tenant}/items", of_tenant)
    client, headers = TestClient(app), key()
    assert client.get("/v1/o/acme/items", headers=headers).json() == "data of acme"
    assert client.get("/v1/o/evil/items", headers=headers).json()["reason"] == "tenant_mismatch"


# --------------------------------------------------------------------------------------- refusals


def test_refusal_survives_other_handlers(guard: Guard, key: Any):
    """A site may put what it wants around our answer: its length is that of the new body."""

    async def handle(_request: Request, error: Any) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    async def view(request: Request) -> JSONResponse:
        require(request, "admin")
        return JSONResponse(None)

    app = Starlette(
        routes=[Route("/v1/a", view)],
        middleware=[Middleware(APIKeyMiddleware, guard=guard.to_async())],
        exception_handlers={HTTPException: handle, 403: handle},
    )
    answer = TestClient(app).get("/v1/a", headers=key())
    assert answer.status_code == 403
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "insufficient_scope" in answer.json()["error"]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_refusal_of_what_is_mounted_looks_as_all_do(
    app: FastAPI, client: TestClient, key: Any, wrap: Any
):
    """Also where the table leaves it to the dependency."""
    hosted = FastAPI()
    hosted.add_api_route("/v1/a", nothing, dependencies=[requires("admin")])
    app.host("api.example", wrap(hosted))
    answer = client.get("/v1/a", headers={**key(), "host": "api.example"})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "insufficient_scope"
