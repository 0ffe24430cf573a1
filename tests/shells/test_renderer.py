"""A site's own rendering: the same in every shell, and never another decision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Reason, Route
from keybound.rendering import PublicRefusal, RefusalResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

JSON = (("Content-Type", "application/json"),)


def flat(refused: PublicRefusal, _answer: RefusalResponse) -> RefusalResponse:
    """Render as APIs do that repeat the status in the body."""
    body = {"code": refused.status, "message": refused.problem["title"]}
    return RefusalResponse(refused.status, JSON, json.dumps(body).encode())


def plain(refused: PublicRefusal, _answer: RefusalResponse) -> RefusalResponse:
    """Render as APIs do that answer one line of text."""
    body = f"ERR {refused.status} {refused.reason or 'denied'} ({refused.id})\n"
    return RefusalResponse(refused.status, (("Content-Type", "text/plain"),), body.encode())


def envelope(refused: PublicRefusal, answer: RefusalResponse) -> RefusalResponse:
    """Render as APIs do that wrap every error, and hide what may not be used."""
    status = 404 if refused.status == 403 else refused.status
    error = {"type": refused.problem["type"].rpartition(":")[2], "request_id": refused.id}
    headers = (*JSON, ("X-Error-Version", "2"), ("Content-Length", "1"))
    assert (answer.status, answer.headers) == (refused.status, refused.headers)
    return RefusalResponse(status, headers, json.dumps({"error": error}).encode())


def requests(site: Site) -> dict[str, Any]:
    """Return an answer for each way to be refused."""
    key = site.issue(limits=Limits(scopes=["other"], networks=["192.0.2.0/24"]))
    near = "192.0.2.1", 1
    answers = {
        "invalid_request": site.request(key=b"Bearer a,Bearer b"),
        "missing_credentials": site.request(),
        "invalid_token": site.request(key=b"Bearer nonsense"),
        "forbidden": site.request(key=key),
        "insufficient_scope": site.request(path="/reports", key=key, client=near),
    }
    site.store.reachable = False
    unknown = site.guard.engine.format.generate(bytes(32)).reveal()
    answers["temporarily_unavailable"] = site.request(key=b"Bearer " + unknown.encode())
    return answers


STATUSES = {
    "invalid_request": 400,
    "missing_credentials": 401,
    "invalid_token": 401,
    "forbidden": 403,
    "insufficient_scope": 403,
    "temporarily_unavailable": 503,
}

EXPECTED: dict[str, Callable[[str, int, str], Any]] = {
    "flat": lambda _problem, status, _denial: {"code": status},
    "plain": lambda _problem, status, denial: f"ERR {status} ({denial})\n",
    "envelope": lambda problem, _status, denial: {"error": {"type": problem, "request_id": denial}},
}


def shown(name: str, body: bytes) -> Any:
    """Return a body without what is said in words."""
    if name == "plain":
        first, status, _, denial = body.decode().split(" ")
        return f"{first} {status} {denial}"
    told = json.loads(body)
    told.pop("message", None)
    return told


@pytest.mark.parametrize("render", [flat, plain, envelope], ids=list(EXPECTED))
def test_refusals_look_as_the_site_says(make: Callable[..., Site], render: Any):
    """Every kind of refusal; what a refusal needs stays, and the length is right."""
    name = render.__name__
    site = make(renderer=render, routes=[Route("/reports", scopes="reports")])
    for problem, answer in requests(site).items():
        status = STATUSES[problem]
        hidden = name == "envelope" and status == 403
        assert answer.status == (404 if hidden else status)
        assert shown(name, answer.body) == EXPECTED[name](problem, status, answer.denial)
        assert answer.all("content-length") == [str(len(answer.body))]
        (kind,) = answer.all("content-type")
        assert kind in {"text/plain", "application/json"}
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("vary") == ["Authorization"]
        assert bool(answer.all("retry-after")) is (status == 503)
        assert answer.all("x-error-version") == (["2"] if name == "envelope" else [])
        if status == 401:
            assert answer.challenges[0].startswith('Bearer realm="api"')
    assert site.served == []


def test_rendering_of_no_refusal_is_not_sent(make: Callable[..., Site]):
    """A renderer changes how a refusal looks; the request is refused whatever it answers."""
    site = make(renderer=lambda *_: RefusalResponse(200, (), b"welcome"))
    answer = site.request()
    assert (answer.status, answer.problem["status"]) == (401, 401)
    assert site.served == []


def test_renderer_is_told_what_the_client_would_be(make: Callable[..., Site]):
    """Nothing of a key, a limit, or why a key is dead; and of the request nothing."""
    seen: list[Any] = []

    def render(*given: Any) -> None:
        seen.append(given)

    site = make(renderer=render, routes=[Route("/{tenant}")])
    key = site.issue(name="secret-name", limits=Limits(tenants="acme", networks="192.0.2.77"))
    dead = site.issue(name="secret-name")
    site.guard.revoke(dead.id)
    requests = [site.request(path="/evil", key=key), site.request(path="/acme", key=dead)]
    assert [answer.problem.get("reason") for answer in requests] == ["tenant_mismatch", None]
    assert [refused.reason for refused, _ in seen] == ["tenant_mismatch", None]
    assert [refused.problem for refused, _ in seen] == [each.problem for each in requests]
    assert [refused.id for refused, _ in seen] == [each.denial for each in requests]
    said = repr(seen)
    for each in requests:
        said = said.replace(each.denial, "")  # which is random, and may hold any four letters
    for hidden in ("secret-name", "acme", "192.0.2.77", key.id, dead.id, "kb_live", "evil"):
        assert hidden not in said
    assert site.guard.explain_denial(requests[1].denial).reason is Reason.REVOKED


def test_status_that_nobody_registered_can_be_sent(make: Callable[..., Site]):
    """Some APIs have statuses of their own."""
    site = make(renderer=lambda *_: RefusalResponse(498, (), b"invalid token"))
    answer = site.request(key=b"Bearer nonsense")
    assert (answer.status, answer.body) == (498, b"invalid token")
    assert answer.all("www-authenticate") == []
    assert answer.all("content-type") == ["text/plain; charset=utf-8"]
