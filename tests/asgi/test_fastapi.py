"""What path operations of FastAPI require is decided before FastAPI sees a request."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.middleware import Middleware
from starlette.websockets import WebSocketDisconnect

from keybound import Guard, Identity, InputError, Limits, Reason, Route, SettingsError
from keybound.asgi import APIKeyMiddleware
from keybound.fastapi import CurrentKey, OptionalKey, init_app, requires


async def nothing() -> str:
    """Answer."""
    return "served"


# -------------------------------------------------------------------------------------- identity


def test_current_key_is_the_identity(app: FastAPI, client: TestClient, key: Any):
    """A parameter of type ``CurrentKey`` is who is calling, in both kinds of functions."""

    @app.get("/v1/a")
    async def a(key: CurrentKey) -> str:
        return key.name

    @app.get("/v1/b")
    def b(key: CurrentKey) -> str:
        return key.name

    for path in ("/v1/a", "/v1/b"):
        assert client.get(path, headers=key()).json() == "CI"
        assert client.get(path).status_code == 401


def test_requires_is_a_type_too(app: FastAPI, client: TestClient, key: Any):
    """A parameter may say in its type what it requires."""

    @app.get("/v1/a")
    async def a(key: Annotated[Identity, requires("reports")]) -> str:
        return key.name

    assert client.get("/v1/a", headers=key(scopes="reports")).json() == "CI"
    assert client.get("/v1/a", headers=key()).json()["reason"] == "insufficient_scope"


def test_current_key_requires_a_key_wherever_it_is_asked_for(
    app: FastAPI, client: TestClient, key: Any
):
    """A path that nothing protects is guarded once an operation there wants to know the key."""

    @app.get("/me")
    async def me(key: CurrentKey) -> str:
        return key.name

    assert client.get("/me").status_code == 401
    assert client.get("/me", headers=key()).json() == "CI"


def test_optional_key_is_read_where_nothing_is_protected(
    app: FastAPI, client: TestClient, key: Any
):
    """With a key there is an identity, without one there is none, and a bad one is refused."""

    @app.get("/catalog")
    async def catalog(key: OptionalKey) -> str | None:
        return key.name if key else None

    assert client.get("/catalog").json() is None
    assert client.get("/catalog", headers=key()).json() == "CI"
    assert client.get("/catalog", headers=key(networks="10.0.0.1")).status_code == 403


def test_optional_key_opens_nothing(app: FastAPI, client: TestClient):
    """Where a path is protected, a key stays required."""

    @app.get("/v1/catalog")
    async def catalog(key: OptionalKey) -> str | None:
        return key.name if key else None

    assert client.get("/v1/catalog").status_code == 401


# --------------------------------------------------------------------------------------- demands


def test_demands_of_every_level_add_up(guard: Guard, key: Any):
    """Application, router, inclusion and operation may each require something."""
    app = FastAPI(dependencies=[requires("rest")])
    init_app(app, guard.to_async())
    inner = APIRouter(prefix="/inner", dependencies=[requires("inner")])
    inner.add_api_route("/x", nothing, dependencies=[requires("x", model="message")])
    outer = APIRouter(prefix="/outer")
    outer.include_router(inner, prefix="/b", dependencies=[requires("b")])
    app.include_router(outer, prefix="/v1", dependencies=[requires("v1")])
    client = TestClient(app)
    path, scopes = "/v1/outer/b/inner/x", ["rest", "v1", "b", "inner", "x"]
    assert client.get(path, headers=key(scopes=scopes)).json() == "served"
    for missing in scopes:
        rest = [scope for scope in scopes if scope != missing]
        answer = client.get(path, headers=key(scopes=rest))
        assert answer.status_code == 403
        assert answer.json()["scopes"] == scopes
    limited = key(scopes=scopes, models={"message": "read"})
    assert client.get(path, headers=limited).status_code == 200
    other = key(scopes=scopes, models={"device": "read"})
    assert client.get(path, headers=other).json()["reason"] == "model_not_allowed"


def test_operation_may_say_that_it_reads(app: FastAPI, client: TestClient, key: Any):
    """A search with POST is open to keys that only read, where the operation says so."""
    search = [requires(model="invoice", access="read")]
    app.add_api_route("/v1/search", nothing, methods=["POST"], dependencies=search)
    app.add_api_route("/v1/touch", nothing, dependencies=[requires(access="write")])
    reader = key(read_only=True)
    assert client.post("/v1/search", headers=reader).status_code == 200
    assert client.get("/v1/touch", headers=reader).status_code == 403
    model = key(models={"invoice": "read"})
    assert client.post("/v1/search", headers=model).status_code == 200


def test_tenant_and_model_come_from_the_path(app: FastAPI, client: TestClient, key: Any):
    """A parameter of the path with one of these names is that fact, as in ``Route``."""
    app.add_api_route("/v1/d/{tenant}/{model}", nothing)
    app.add_api_route(
        "/v1/u/{domain}/{user:int}",
        nothing,
        dependencies=[requires(tenant="{domain}/{user}", model="user-{domain}")],
    )
    app.add_api_route("/v1/mine", nothing, dependencies=[requires(tenant="~")])
    headers = key(models={"message": "read", "user-acme": "read"})
    assert client.get("/v1/d/acme/message", headers=headers).status_code == 200
    assert client.get("/v1/d/evil/message", headers=headers).json()["reason"] == "tenant_mismatch"
    assert client.get("/v1/d/acme/device", headers=headers).json()["reason"] == "model_not_allowed"
    assert client.get("/v1/u/acme/7", headers=headers).status_code == 200
    assert client.get("/v1/u/evil/7", headers=headers).json()["reason"] == "tenant_mismatch"
    assert client.get("/v1/mine", headers=key()).status_code == 200


def test_open_page_with_a_tenant_in_its_path_is_about_no_tenant(guard: Guard, key: Any):
    """A route that is not guarded does not make all others answer to tenants."""
    app = FastAPI()
    init_app(app, guard.to_async())
    app.add_api_route("/welcome/{tenant}", nothing)
    app.add_api_route("/v1/a", nothing)
    client = TestClient(app)
    assert client.get("/welcome/acme").status_code == 200
    assert client.get("/v1/a", headers=key()).status_code == 200


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/i/me", None),
        ("/v1/i/7", "number"),
        ("/v1/i/7.5", "float"),
        ("/v1/i/0a0b0c0d-0000-0000-0000-000000000000", "uuid"),
        ("/v1/i/seven", "text"),
        ("/v1/i/a/b", "path"),
        ("/v1/i/", "path"),
    ],
)
def test_route_is_the_one_that_the_router_takes(
    app: FastAPI, client: TestClient, key: Any, path: str, scope: str | None
):
    """Kinds of parameters and the order of routes mean what they mean to the router."""
    app.add_api_route("/v1/i/me", nothing)
    for kind, name in (("int", "number"), ("float", "float"), ("uuid", "uuid"), ("str", "text")):
        app.add_api_route(f"/v1/i/{{x:{kind}}}", nothing, dependencies=[requires(name)])
    app.add_api_route("/v1/i/{x:path}", nothing, dependencies=[requires("path")])
    lacking = client.get(path, headers=key())
    assert lacking.json() == "served" if scope is None else lacking.json()["scopes"] == [scope]
    assert client.get(path, headers=key(scopes=[scope] if scope else [])).json() == "served"


def test_methods_are_those_of_the_operation(app: FastAPI, client: TestClient, key: Any):
    """Each method of a path has its own demands, HEAD included."""
    for method in ("get", "head", "post"):
        app.add_api_route("/v1/a", nothing, methods=[method], dependencies=[requires(method)])
    for method in ("get", "head", "post"):
        assert client.request(method, "/v1/a", headers=key(scopes=method)).status_code == 200
        others = [name for name in ("get", "head", "post") if name != method]
        assert client.request(method, "/v1/a", headers=key(scopes=others)).status_code == 403


def test_configured_route_wins():
    """What the settings say of a path comes first; a dependency still refuses on its own."""
    guard = Guard.from_settings(
        database="memory://",
        routes=[
            Route("/a", methods="POST", model="invoice", access="read"),
            Route("/b", auth="exempt"),
        ],
    )
    app = FastAPI()
    init_app(app, guard.to_async())
    app.add_api_route("/a", nothing, methods=["POST"], dependencies=[requires("rest")])
    app.add_api_route("/b", nothing, dependencies=[requires("rest")])
    client = TestClient(app)
    issued = guard.issue(
        name="CI", limits=Limits(read_only=True, models={"invoice": "read"}, scopes="rest")
    )
    headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
    assert client.post("/a", headers=headers).status_code == 200
    assert client.get("/b").status_code == 401


def test_contradicting_demands_keep_the_application_from_starting(app: FastAPI):
    """One operation is about one model: two are a mistake, which is named."""
    app.add_api_route("/v1/a", nothing, dependencies=[requires(model="a"), requires(model="b")])
    with pytest.raises(InputError, match=r"/v1/a requires a and b"), TestClient(app):
        pass


def test_wrong_demand_is_refused_where_it_is_written():
    """A mistake in ``requires`` is an error of the line that has it."""
    with pytest.raises(InputError, match="read"):
        requires(access="reed")  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- when it is read


def test_routes_are_read_when_the_application_starts(app: FastAPI, guard: Guard):
    """After the start the guard's table knows every route, without any request."""
    app.add_api_route("/v1/a", nothing, dependencies=[requires("a")])
    with TestClient(app):
        match = guard.engine.table.match("GET", "/v1/a")
    assert match is not None
    assert match.scopes == ("a",)


@pytest.mark.parametrize("where", ["app", "router"])
def test_routes_that_are_added_later_are_read_as_well(
    app: FastAPI, client: TestClient, key: Any, where: str
):
    """A route counts from the moment it is there, also when its path was asked for before."""
    router = APIRouter()
    router.add_api_route("/v1/first", nothing)
    app.include_router(router)
    headers = key(scopes="a", models={"message": "read"})
    assert client.get("/v1/later", headers=headers).json()["reason"] == "model_unresolved"
    assert client.get("/v1/later", headers=key()).status_code == 404
    (app if where == "app" else router).add_api_route(
        "/v1/later", nothing, dependencies=[requires("a", model="message")]
    )
    if where == "router":
        app.include_router(router)  # FastAPI 0.115 copies routes where they are included
    assert client.get("/v1/later", headers=headers).status_code == 200
    assert client.get("/v1/later", headers=key()).json()["reason"] == "insufficient_scope"


def test_two_applications_share_a_guard(guard: Guard, key: Any):
    """What one application requires does not go when another one starts."""
    apps = []
    for name in ("one", "two"):
        app = FastAPI()
        init_app(app, guard.to_async())
        app.add_api_route(f"/v1/{name}", nothing, dependencies=[requires(name)])
        apps.append(TestClient(app))
    for _ in range(2):
        for name, client in zip(("one", "two"), apps, strict=True):
            assert client.get(f"/v1/{name}", headers=key(scopes=name)).status_code == 200
            assert client.get(f"/v1/{name}", headers=key()).status_code == 403


def test_init_app_is_called_once(app: FastAPI, guard: Guard):
    """Calling it twice, or adding the middleware by hand as well, is a mistake."""
    with pytest.raises(SettingsError, match="twice"):
        init_app(app, guard.to_async())
    by_hand = FastAPI(middleware=[Middleware(APIKeyMiddleware, guard=guard.to_async())])
    with pytest.raises(SettingsError, match="twice"):
        init_app(by_hand, guard.to_async())
    app.add_middleware(APIKeyMiddleware, guard=guard.to_async())
    with pytest.raises(SettingsError, match="twice"), TestClient(app):
        pass


def test_init_app_wants_a_guard_that_awaits(guard: Guard):
    """A guard that blocks is refused by name."""
    with pytest.raises(SettingsError, match="to_async"):
        init_app(FastAPI(), guard)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- mounted, and in depth


def test_mounted_application_is_read_too(app: FastAPI, client: TestClient, key: Any):
    """What an application within the application requires is required under its path."""
    inner = FastAPI()
    inner.add_api_route("/{x:int}", nothing, dependencies=[requires("inner", model="message")])
    app.mount("/v1/{tenant}/sub", inner)
    headers = key(scopes="inner", models={"message": "read"})
    assert client.get("/v1/acme/sub/7", headers=headers).status_code == 200
    assert client.get("/v1/evil/sub/7", headers=headers).json()["reason"] == "tenant_mismatch"
    assert client.get("/v1/acme/sub/7", headers=key()).json()["reason"] == "insufficient_scope"


@pytest.mark.parametrize("inside", [False, True], ids=["routed", "mounted"])
def test_dependency_refuses_where_the_table_knew_nothing(
    guard: Guard,
    key: Any,
    inside: bool,  # noqa: FBT001
):
    """A route that is chosen by its host is not in the table, and is guarded all the same."""
    app, hosted = FastAPI(), FastAPI()
    init_app(app, guard.to_async())
    demands = [requires("a", model="message", access="write")]
    hosted.add_api_route("/v1/a", nothing, dependencies=demands)
    hosted.add_api_route("/open", nothing, dependencies=[requires()])
    outer = app
    if inside:
        outer = FastAPI()
        app.mount("/v1/inside", outer)
    outer.host("api.example", hosted)
    client = TestClient(app, base_url="http://api.example", raise_server_exceptions=False)
    start = "/v1/inside" if inside else ""
    refused = client.get(f"{start}/v1/a", headers=key())
    assert refused.status_code == 403
    reader = client.get(f"{start}/v1/a", headers=key(scopes="a", read_only=True))
    assert reader.status_code == 403
    assert client.get(f"{start}/v1/a", headers=key(scopes="a")).status_code == 200
    if not inside:
        assert client.get("/open").status_code == 401


def test_dependency_refuses_a_model_that_nothing_names(guard: Guard, key: Any):
    """A demand for the model of a parameter that the path does not have is met by nobody."""
    app, hosted = FastAPI(), FastAPI()
    init_app(app, guard.to_async())
    demands = [requires(model="{kind}")]
    hosted.add_api_route("/v1/a", nothing, dependencies=demands)
    hosted.add_api_route("/v1/b/{kind}", nothing, dependencies=demands)
    app.host("api.example", hosted)
    client = TestClient(app, base_url="http://api.example")
    assert client.get("/v1/a", headers=key()).status_code == 403
    assert client.get("/v1/b/message", headers=key()).status_code == 200


def test_dependency_checks_the_tenant_itself(guard: Guard):
    """Where the table knew nothing, the tenant that a demand names is the one of the request."""
    app, hosted = FastAPI(), FastAPI()
    init_app(app, guard.to_async())
    for path in ("/v1/u/{tenant}", "/v1/elsewhere"):
        hosted.add_api_route(path, nothing, dependencies=[requires(tenant="{tenant}")])
    hosted.add_api_route("/v1/own", nothing, dependencies=[requires(tenant="~")])
    app.host("api.example", hosted)
    client = TestClient(app, base_url="http://api.example")

    def ask(path: str, tenant: str | None) -> tuple[int, str | None]:
        issued = guard.issue(name="CI", tenant=tenant)
        headers = {"Authorization": f"Bearer {issued.secret.reveal()}"}
        answer = client.get(path, headers=headers)
        denial = answer.headers.get("keybound-denial")
        return answer.status_code, denial and guard.explain_denial(denial).reason

    assert ask("/v1/u/acme", "acme") == (200, None)
    assert ask("/v1/u/evil", "acme") == (403, "tenant_mismatch")
    assert ask("/v1/u/acme", None) == (403, "tenant_unresolved")
    assert ask("/v1/elsewhere", "acme") == (403, "tenant_unresolved")
    assert ask("/v1/own", "acme") == (200, None)
    assert ask("/v1/own", None) == (403, "tenant_unresolved")


def test_dependency_takes_a_request_for_what_its_method_does():
    """Without a word on access, a POST writes; with one anywhere around the route, that holds."""
    app, hosted = FastAPI(), FastAPI()
    # The table takes the request for this one, since it does not look at the host.
    said = Route("/v1/{a:path}", ["GET", "POST"], model="message", access="read")
    guard = Guard.from_settings(database="memory://", routes=[said])

    def key(**limits: Any) -> dict[str, str]:
        issued = guard.issue(name="CI", limits=Limits(**limits))
        return {"Authorization": f"Bearer {issued.secret.reveal()}"}

    init_app(app, guard.to_async())
    demands = [requires(model="message")]
    inner = APIRouter(dependencies=demands)
    for method in ("GET", "POST"):
        hosted.add_api_route("/v1/{a}", nothing, methods=[method], dependencies=demands)
    inner.add_api_route("/said", nothing, methods=["POST"])
    hosted.include_router(inner, prefix="/v1/b", dependencies=[requires(access="read")])
    app.host("api.example", hosted)
    client = TestClient(app, base_url="http://api.example")
    headers = key(models={"message": "read"})
    assert client.get("/v1/a", headers=headers).status_code == 200
    assert client.post("/v1/a", headers=headers).json()["reason"] == "model_not_allowed"
    assert client.post("/v1/a", headers=key(models={"message": "write"})).status_code == 200
    assert client.post("/v1/b/said", headers=headers).status_code == 200


def test_dependency_refuses_as_the_middleware_does(guard: Guard, key: Any):
    """The same problem document, headers and id of the denial, for requests and WebSockets."""
    app = FastAPI()
    init_app(app, guard.to_async())

    @app.websocket("/v1/live")
    @app.websocket("/open/live")
    async def live(websocket: WebSocket, _key: Annotated[Identity, requires("a")]) -> None:
        await websocket.accept()

    app.add_api_route("/v1/a", nothing, dependencies=[requires("a")])
    client, headers = TestClient(app), key()
    early = client.get("/v1/a", headers=headers)
    with (
        pytest.raises(WebSocketDisconnect) as early_live,
        client.websocket_connect("/v1/live", headers=headers),
    ):
        pass
    guard.engine.use_routes([])  # a table that knows nothing
    late = client.get("/v1/a", headers=headers)
    with (
        pytest.raises(WebSocketDisconnect) as late_live,
        client.websocket_connect("/v1/live", headers=headers),
    ):
        pass
    with pytest.raises(WebSocketDisconnect) as open_live, client.websocket_connect("/open/live"):
        pass
    seen: list[tuple[Any, Any]] = [(early, late), (early_live.value, late_live.value)]
    for before, after in seen:
        assert before.status_code == after.status_code == 403
        assert before.json() | {"id": ""} == after.json() | {"id": ""}
        assert set(before.headers) == set(after.headers)
        denial = guard.explain_denial(after.headers["keybound-denial"])
        assert denial.reason is Reason.INSUFFICIENT_SCOPE
    nobody: Any = open_live.value
    assert nobody.status_code == 401


def test_unguarded_application_is_not_open():
    """An operation with a demand in an application that nobody guards does not run."""
    app = FastAPI()
    app.add_api_route("/v1/a", nothing, dependencies=[requires()])
    with pytest.raises(RuntimeError, match="APIKeyMiddleware"):
        TestClient(app).get("/v1/a")


def test_websocket_requires(app: FastAPI, client: TestClient, key: Any):
    """A WebSocket may require scopes and a model, and say that it only reads."""

    @app.websocket("/v1/live", dependencies=[requires("live", model="message", access="read")])
    async def live(websocket: WebSocket, key: CurrentKey) -> None:
        await websocket.accept()
        await websocket.send_text(key.name)
        await websocket.close()

    headers = key(scopes="live", models={"message": "read"}, read_only=True)
    with client.websocket_connect("/v1/live", headers=headers) as session:
        assert session.receive_text() == "CI"
    nobody: dict[str, str] = {}
    for refused in (key(), key(scopes="live", models={"device": "read"}), nobody):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/v1/live", headers=refused),
        ):
            pass


# -------------------------------------------------------------------------------------- OpenAPI

BOTH: list[dict[str, list[str]]] = [{"bearer": []}, {"rest_api_key": []}]


def test_document_has_the_security_schemes(app: FastAPI):
    """The docs page can send keys in every form that is read."""
    schemes = app.openapi()["components"]["securitySchemes"]
    assert schemes["bearer"]["type"] == "http"
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["rest_api_key"]["type"] == "apiKey"
    assert schemes["rest_api_key"]["in"] == "header"
    assert schemes["rest_api_key"]["name"] == "Authorization"
    assert "rest_api_key=" in schemes["rest_api_key"]["description"]


def test_document_says_which_operations_need_a_key(guard: Guard):
    """Guarded operations require one of the schemes, optional ones or none, exempt ones nothing."""
    routes = [Route("/v1/health", auth="exempt"), Route("/v1/maybe", auth="optional")]
    guard.engine.settings = guard.engine.settings.__class__(
        database="memory://", protect=("/v1/*",)
    )
    guard.engine.use_routes(routes)
    app = FastAPI()
    init_app(app, guard.to_async())
    for path in ("/v1/a", "/v1/{x:int}/{y:path}", "/v1/health", "/v1/maybe", "/open"):
        app.add_api_route(path, nothing)
    app.add_api_route("/me", nothing, dependencies=[requires()])

    @app.get("/optional")
    async def optional(_key: OptionalKey) -> None:
        """Answer."""

    paths = app.openapi()["paths"]
    assert {path: item["get"].get("security") for path, item in paths.items()} == {
        "/v1/a": BOTH,
        "/v1/{x}/{y}": BOTH,
        "/v1/health": None,
        "/v1/maybe": [{}, *BOTH],
        "/open": None,
        "/me": BOTH,
        "/optional": [{}, *BOTH],
    }


def test_document_says_what_guarded_operations_refuse(app: FastAPI):
    """401 and 403 are listed as problems, 403 with the scopes; what an operation says stays."""
    app.add_api_route("/v1/a", nothing, dependencies=[requires("reports", "ui")])
    app.add_api_route("/v1/b", nothing, responses={403: {"description": "Theirs"}})
    app.add_api_route("/open", nothing)
    document = app.openapi()
    answers = {path: item["get"]["responses"] for path, item in document["paths"].items()}
    assert set(answers["/v1/a"]) == {"200", "401", "403"}
    assert answers["/v1/a"]["403"]["description"].endswith("It needs the scopes reports, ui.")
    reference = answers["/v1/a"]["401"]["content"]["application/problem+json"]["schema"]["$ref"]
    _, *steps = reference.split("/")
    schema: Any = document
    for step in steps:
        schema = schema[step]
    refusal = TestClient(app).get("/v1/a").json()
    assert set(schema["required"]) <= set(refusal) <= set(schema["properties"])
    assert answers["/v1/b"]["403"] == {"description": "Theirs"}
    assert set(answers["/open"]) == {"200"}


def test_document_grows_with_the_application(app: FastAPI, client: TestClient):
    """Operations that are added after the document was read once are in it."""
    app.add_api_route("/v1/a", nothing)
    assert set(client.get("/openapi.json").json()["paths"]) == {"/v1/a"}
    app.add_api_route("/v1/b", nothing)
    app.openapi_schema = None  # FastAPI 0.115 keeps the first one otherwise
    document = client.get("/openapi.json").json()
    assert document["paths"]["/v1/b"]["get"]["security"] == BOTH
    assert app.openapi() is app.openapi()


def test_document_keeps_what_else_an_operation_requires(app: FastAPI):
    """A site's own security scheme is required besides, not replaced."""
    app.add_api_route("/v1/a", nothing, openapi_extra={"security": [{"session": []}]})
    security = app.openapi()["paths"]["/v1/a"]["get"]["security"]
    assert security == [{"session": [], "bearer": []}, {"session": [], "rest_api_key": []}]


def test_document_names_only_forms_that_are_read():
    """A form that is switched off is not offered."""
    guard = Guard.from_settings(database="memory://", credentials=["bearer"])
    app = FastAPI()
    init_app(app, guard.to_async())
    assert set(app.openapi()["components"]["securitySchemes"]) == {"bearer"}


def test_document_says_where_each_form_stands():
    """Names of forms are written in the letters that OpenAPI has for them."""
    forms = ["scheme(Token)", "basic(username)", "header(X-API-Key)", "query(key)", "cookie(key)"]
    guard = Guard.from_settings(database="memory://", credentials=forms)
    app = FastAPI()
    init_app(app, guard.to_async())
    schemes = app.openapi()["components"]["securitySchemes"]
    token = schemes.pop("scheme_Token")
    assert (token["in"], token["name"]) == ("header", "Authorization")
    assert "`Token YOUR-KEY`" in token["description"]
    assert schemes.pop("basic_username")["scheme"] == "basic"
    assert {name: (each["in"], each["name"]) for name, each in schemes.items()} == {
        "header_X-API-Key": ("header", "X-API-Key"),
        "query_key": ("query", "key"),
        "cookie_key": ("cookie", "key"),
    }
    assert all("`YOUR-KEY`" in each["description"] for each in schemes.values())
