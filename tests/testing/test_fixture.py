"""The fixture ``keybound``: an application's own guard, in memory, with the real decision."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient as FastAPIClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from keybound import Guard, Limits, Settings
from keybound.testing import FakeClock, Harness
from tests.testing import shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENTS = {
    "starlette": lambda: TestClient(shop.starlette_app),
    "fastapi": lambda: FastAPIClient(shop.fastapi_app),
}


@pytest.fixture(params=["not started", "started"])
def started(request: pytest.FixtureRequest) -> bool:
    """Return whether the application runs its lifespan."""
    return bool(request.param == "started")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, started: bool) -> Iterator[TestClient]:  # noqa: FBT001
    """Return a client, made in every way that people make them."""
    client = CLIENTS[request.param]()
    if started:
        with client:
            yield client
    else:
        yield client


def test_no_test_needs_redis(keybound):
    """An application that shares its cache is tested without a server."""
    guard = Guard.from_settings(
        redis="redis://127.0.0.1:1", secret="s3cret-of-an-application-0123456789"
    )
    assert guard.engine.shared is None
    keybound.issue()


def test_uses_are_seen(client: TestClient, keybound: Harness):
    """How often a key let a request in and was refused, and when, by the clock of the test."""
    # With a tenant: other tests' guards that are alive yet may have routes about tenants.
    key = keybound.issue(tenant="acme", limits=Limits(read_only=True))
    assert keybound.usage(key).uses == 0
    client.get("/v1/x", headers=key.headers)
    used_at = keybound.clock.now
    keybound.clock.advance(days=1)
    client.post("/v1/x", headers=key.headers)
    usage = keybound.usage(key)
    assert (usage.uses, usage.refusals) == (1, 1)
    assert (usage.last_used_at, usage.last_refused_at) == (used_at, keybound.clock.now)
    keybound.clock.advance(days=100)
    assert keybound.guard.show(key.id).usage == usage
    assert keybound.guard.list(unused_for="90d") == (key.issued.key,)
    assert keybound.guard.list(unused_for="102d") == ()


def test_read_only(client: TestClient, keybound: Harness):
    """The ten lines of the documentation work."""
    key = keybound.issue(limits=Limits(read_only=True))
    keybound.assert_allowed(client.get("/v1/x", headers=key.headers))
    keybound.assert_allowed(client.post("/v1/search", headers=key.headers))
    keybound.assert_denied(client.post("/v1/x", headers=key.headers), "method_not_allowed")
    keybound.revoke(key)
    keybound.assert_denied(client.get("/v1/x", headers=key.headers), "revoked")


def test_time_passes_only_when_it_is_told_to(client: TestClient, keybound: Harness):
    """The clock of all guards is the test's."""
    key = keybound.issue(expires_in="90d")
    keybound.assert_allowed(client.get("/v1/x", headers=key.headers))
    keybound.clock.advance(days=89)
    keybound.assert_allowed(client.get("/v1/x", headers=key.headers))
    keybound.clock.advance(days=1)
    keybound.assert_denied(client.get("/v1/x", headers=key.headers), "expired")


def test_reasons_that_clients_are_not_told_are_known_to_tests(
    client: TestClient, keybound: Harness
):
    """Every 401 is told from every other, though they look alike outside."""
    key = keybound.issue()
    keybound.assert_denied(client.get("/v1/x"), "missing_credentials")
    bad = {"Authorization": "Bearer nonsense"}
    keybound.assert_denied(client.get("/v1/x", headers=bad), "malformed_credentials")
    keybound.disable(key)
    keybound.assert_denied(client.get("/v1/x", headers=key.headers), "disabled")


def test_refusal_before_anything_was_issued_is_known(client: TestClient, keybound: Harness):
    """A test needs no key to look at a refusal."""
    keybound.assert_denied(client.get("/v1/x"), "missing_credentials")


def test_every_verb_is_there(client: TestClient, keybound: Harness):
    """Groups, parents and changes are those of a guard, and hold at once."""
    group = keybound.guard.create_group(name="group").node.id
    key = keybound.issue(groups=[group])
    keybound.assert_allowed(client.post("/v1/x", headers=key.headers))
    keybound.guard.restrict(group, Limits(methods="GET"))
    keybound.assert_denied(client.post("/v1/x", headers=key.headers), "method_not_allowed")


def test_websocket_is_denied_like_a_request(client: TestClient, keybound: Harness):
    """The disconnect of a refused WebSocket is a response to look at."""
    key = keybound.issue(limits=Limits(read_only=True))
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect("/v1/live", headers=key.headers),
    ):
        pass
    refused: Any = caught.value
    keybound.assert_denied(refused, "method_not_allowed")


def test_nothing_was_allowed_where_nothing_was_decided(keybound: Harness):
    """An application that nobody guards, or a path that is open, proves nothing."""

    async def unguarded(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("served")

    app = Starlette(routes=[Route("/x", unguarded)])
    key = keybound.issue()
    with pytest.raises(AssertionError, match="no key was let in"):
        keybound.assert_allowed(TestClient(app).get("/x", headers=key.headers))


def test_declared_demands_hold(keybound: Harness):
    """What FastAPI's operations require is enforced on the guard in memory as well."""
    client = FastAPIClient(shop.fastapi_app)
    key = keybound.issue(limits=Limits(scopes="reports", models={"report": "read"}))
    keybound.assert_allowed(client.get("/v1/reports", headers=key.headers))
    lacking = keybound.issue()
    keybound.assert_denied(client.get("/v1/reports", headers=lacking.headers), "insufficient_scope")


@pytest.mark.parametrize("_time", [1, 2])
def test_every_test_begins_empty(keybound: Harness, _time: int):
    """No key of one test is there in another one."""
    assert keybound.guard.list() == ()
    assert keybound.clock.now == FakeClock().now
    keybound.issue()
    keybound.clock.advance(days=1)


def test_key_of_another_store_is_unknown(client: TestClient, keybound: Harness):
    """A key that was issued elsewhere opens nothing here."""
    stranger = Guard.from_settings(database="memory://", prefix="shop").engine.format
    headers = {"Authorization": f"Bearer {stranger.generate(bytes(range(32))).reveal()}"}
    keybound.assert_denied(client.get("/v1/x", headers=headers), "unknown_key")


def test_settings_are_those_of_the_application(keybound: Harness):
    """Keys look as the application's do, and only the store, the clock and the secret differ."""
    real = shop.guard.settings
    assert keybound.issue().headers["Authorization"].startswith("Bearer kb_test_")
    assert (real.prefix, real.routes) == (keybound.guard.settings.prefix, real.routes)
    assert real.database == "memory://"


def test_guard_that_a_test_makes_is_taken_over_too(keybound: Harness):
    """A factory that is called in the test gets the store of the test."""
    client = TestClient(shop.make_app())
    key = keybound.issue()
    assert key.headers["Authorization"].startswith("Bearer kb_test_")
    keybound.assert_allowed(client.get("/v1/x", headers=key.headers))


def test_guard_is_given_back():
    """After a test every guard is what it was, also after one that failed."""
    engine = shop.guard.engine
    harness = Harness()

    def fail() -> None:
        with harness.installed():
            assert shop.guard.engine is not engine
            assert shop.guard.engine.store is harness.guard.engine.store
            made = Guard.from_settings(database="memory://")
            fail.made = made  # type: ignore[attr-defined]
            message = "a test that fails"
            raise LookupError(message)

    with pytest.raises(LookupError):
        fail()
    assert shop.guard.engine is engine
    made: Guard = fail.made  # type: ignore[attr-defined]
    assert made.engine.store is not harness.guard.engine.store


def test_guards_that_share_an_engine_go_on_sharing_it():
    """A blocking and an awaiting guard over one cache stay that in a test."""
    blocking = Guard.from_settings(database="memory://")
    awaiting = blocking.to_async()
    with Harness().installed():
        assert blocking.engine is awaiting.engine
        assert blocking.to_async().engine is blocking.engine


def test_change_by_one_guard_holds_at_once_for_all(keybound: Harness):
    """Nothing in a test waits for a sync."""
    key = keybound.issue()
    value = key.headers["Authorization"].encode()
    guards = [Guard.from_settings(database="memory://", prefix="shop") for _ in range(3)]
    for guard in guards:
        assert guard.authorize("GET", "/", None, value).__class__.__name__ == "Allowed"
    guards[0].revoke(key.id)
    for guard in guards:
        assert guard.authorize("GET", "/", None, value).__class__.__name__ == "Denied"


def test_assertions_say_what_happened_instead(client: TestClient, keybound: Harness):
    """A test that fails names the reason, the check and the node."""
    key = keybound.issue(limits=Limits(methods="GET"))
    refused = client.post("/v1/x", headers=key.headers)
    allowed = client.get("/v1/x", headers=key.headers)
    with pytest.raises(AssertionError, match=rf"method_not_allowed \(403\) by methods of {key.id}"):
        keybound.assert_denied(refused, "revoked")
    with pytest.raises(AssertionError, match=r"let through \(200\)"):
        keybound.assert_denied(allowed, "revoked")
    with pytest.raises(AssertionError, match="method_not_allowed"):
        keybound.assert_allowed(refused)
    with pytest.raises(ValueError, match="no_such_reason"):
        keybound.assert_denied(refused, "no_such_reason")


def test_report_is_asserted(client: TestClient, keybound: Harness):
    """Whoever tries a limit out sees that it would refuse, and lets the request through."""
    limits = Limits(methods="GET")
    group = keybound.guard.create_group(name="g", limits=limits, rights=["report_only"]).node.id
    key, other = keybound.issue(groups=[group]), keybound.issue()
    for each in (key, other):
        keybound.assert_allowed(client.post("/v1/x", headers=each.headers))
    for _ in range(2):
        keybound.assert_reported(key, "method_not_allowed")
    with pytest.raises(AssertionError, match="what was reported is method_not_allowed"):
        keybound.assert_reported(key.id, "network_not_allowed")
    with pytest.raises(AssertionError, match="what was reported is nothing"):
        keybound.assert_reported(other, "method_not_allowed")


def test_harness_without_an_application():
    """The harness serves without the fixture, under settings of its own."""
    harness = Harness(Settings(database="memory://", credentials=("rest_api_key",)))
    key = harness.issue(tenant="acme")
    assert key.headers["Authorization"].startswith("rest_api_key=kb_test_")
    raw = key.headers["Authorization"].encode()
    assert harness.guard.authorize("GET", "/", None, raw).__class__.__name__ == "Allowed"
    harness.revoke(key.id)
    assert harness.guard.authorize("GET", "/", None, raw).__class__.__name__ == "Denied"


@pytest.mark.parametrize(
    ("form", "headers", "query"),
    [
        ("scheme(Token)", {"Authorization": "Token {}"}, ""),
        ("header(X-API-Key)", {"X-API-Key": "{}"}, ""),
        ("cookie(key)", {"Cookie": "key={}"}, ""),
        ("query(key)", {}, "key={}"),
        ("query(key) header(X-API-Key)", {"X-API-Key": "{}"}, ""),
    ],
)
def test_key_is_sent_as_the_application_reads_it(form, headers, query):
    """Headers carry the key, or the query string where that is the only form."""
    key = Harness(Settings(database="memory://", credentials=tuple(form.split(" ")))).issue()
    secret = key.issued.secret.reveal()
    assert key.headers == {name: value.format(secret) for name, value in headers.items()}
    assert key.query == query.format(secret)


def test_waiting_takes_no_time(keybound: Harness):
    """A change that waits until it holds everywhere moves the clock instead."""
    key = keybound.issue()
    before = keybound.clock.now
    keybound.revoke(key, wait=True)
    assert keybound.clock.now > before


FAILING = """
import pytest
from keybound import Guard, Route

guard = Guard.from_settings(database="/nonexistent/keys.db")

def test_fails(keybound):
    own = Guard.from_settings(database="/nonexistent/keys.db", routes=[Route("/{tenant}/x")])
    assert keybound.issue(tenant="acme") is own

@pytest.fixture
def key(keybound):
    return keybound.issue()

def test_passes(key):
    assert key.headers

def test_passes_as_well(keybound):
    keybound.issue()
"""


def test_test_that_fails_fails_alone(tmp_path: Path):
    """What pytest keeps of it is not taken for the application by the tests after it."""
    file = tmp_path / "test_failing.py"
    file.write_text(FAILING, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert "1 failed, 2 passed" in done.stdout
