"""A site's own rendering of refusals: rendering, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Response, abort, current_app, jsonify

from keybound.flask import require


@pytest.fixture(autouse=True)
def _asking(app):
    """Let the application have a view that asks for more."""
    app.add_url_rule("/v1/more", "more", lambda: require("more").name)


def test_refusals_look_as_the_site_says(kb, client, key, why):
    """Those of the middleware and those of views, and with what is public of them."""

    @kb.refusal
    def render(refusal: Any, problem: dict[str, Any]) -> Any:
        return jsonify(app=current_app.name, code=refusal.status, title=problem["title"])

    refused = client.get("/v1/home")
    assert refused.status_code == 401
    assert refused.json == {"app": "shop", "code": 401, "title": "Credentials required"}
    assert refused.mimetype == "application/json"
    assert why(refused) == "missing_credentials"
    inside = client.get("/v1/more", headers=key())
    assert (inside.status_code, inside.json["code"]) == (403, 403)
    assert why(inside) == "insufficient_scope"


def test_rendering_is_told_nothing_that_clients_may_not_know(kb, client, key):
    """Of a dead key no reason."""
    seen: list[dict[str, Any]] = []

    @kb.refusal
    def render(_refusal: Any, problem: dict[str, Any]) -> str:
        seen.append(problem)
        return "refused"

    headers = key()
    kb.guard.revoke(kb.guard.list()[0].id)
    assert client.get("/v1/home", headers=headers).text == "refused"
    del seen[0]["id"]  # which is random, and may hold any two letters
    assert "reason" not in seen[0]
    assert "CI" not in str(seen)


def body_of(response: Response) -> Any:
    """Stream a body that breaks."""

    def body():
        yield b"a"
        msg = "a secret text"
        raise OSError(msg)

    response.response = body()
    return response


def test_rendering_may_be_a_coroutine(kb, client):
    """As a view may."""

    @kb.refusal
    async def render(_refusal: Any, problem: dict[str, Any]) -> dict[str, Any]:
        return {"error": problem["title"]}

    assert client.get("/v1/home").json == {"error": "Credentials required"}


BROKEN = {
    "raises": lambda *_: 1 / 0,
    "aborts": lambda *_: abort(404),
    "nothing": lambda *_: None,
    "breaks in the body": lambda *_: body_of(Response()),
    "an object": lambda *_: object(),
}


@pytest.mark.parametrize("render", BROKEN.values(), ids=list(BROKEN))
def test_rendering_that_fails_leaves_the_refusal(kb, client, key, why, caplog, render):
    """As it is without one; and nothing of the error is told."""
    kb.refusal(render)
    for path, headers, status in (("/v1/home", {}, 401), ("/v1/more", key(), 403)):
        refused = client.get(path, headers=headers)
        assert refused.status_code == status
        assert refused.mimetype == "application/problem+json"
        assert why(refused) in {"missing_credentials", "insufficient_scope"}
    assert "cannot render a refusal" in caplog.text
    assert "a secret text" not in caplog.text


LOST = {
    "status": lambda *_: ("fine", 200),
    "redirect": lambda *_: ("", 302, {"Location": "/elsewhere"}),
    "headers": lambda *_: (
        "fine",
        200,
        {
            "Cache-Control": "public",
            "Keybound-Denial": "x",
            "WWW-Authenticate": "Basic",
            "Content-Length": "1000",
            "X-Site": "kept",
        },
    ),
}


@pytest.mark.parametrize("render", LOST.values(), ids=list(LOST))
def test_rendering_cannot_make_something_else_of_a_refusal(kb, client, key, why, render):
    """Status and headers that matter stay ours; the rest is the site's."""
    kb.refusal(render)
    for path, headers, status in (("/v1/home", {}, 401), ("/v1/more", key(), 403)):
        refused = client.get(path, headers=headers)
        assert refused.status_code == status
        assert why(refused) in {"missing_credentials", "insufficient_scope"}
        assert refused.headers.getlist("Cache-Control") == ["no-store"]
        assert refused.headers.getlist("Content-Length") == [str(len(refused.data))]
        challenges = refused.headers.getlist("WWW-Authenticate")
        assert challenges
        assert "Basic" not in challenges
        assert refused.headers.get("X-Site", "kept") == "kept"


def test_head_has_no_body(kb, client, key):
    """Whoever renders."""
    assert client.head("/v1/home").data == b""
    kb.refusal(lambda *_: "refused")
    assert client.head("/v1/home").data == b""
    assert client.head("/v1/more", headers=key()).data == b""
