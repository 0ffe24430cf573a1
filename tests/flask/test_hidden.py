"""Inside of Flask, where the key is hidden by now: everything that is looked at again is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request

from keybound import Guard, Limits, Route
from keybound.flask import Keybound

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS: dict[str, Any] = {
    "database": "memory://",
    "credentials": ["bearer", "query(api_key)"],
    "hide_credentials": True,
    "routes": [Route("/v1/body", model="body(model)"), Route("/v1/long/{model:path}")],
}


class Shop:
    """A guarded application with a few views, and clients of it."""

    def __init__(self, around: Callable[[Any], Any] | None = None, **settings: Any) -> None:
        """Guard it; ``around`` stands between keybound and Flask."""
        app = Flask("shop", static_folder=None)
        if around is not None:
            app.wsgi_app = around(app.wsgi_app)
        self.guard = Guard.from_settings(**SETTINGS | settings)
        kb = Keybound(app, self.guard)
        app.add_url_rule("/v1/seen", "seen", lambda: repr(sorted(request.headers.keys())))
        app.add_url_rule("/v1/scoped", "scoped", kb.requires("reports")(lambda: "scoped"))
        app.add_url_rule("/v1/<int:model>", "number", kb.requires(model="{model}")(self.number))
        app.add_url_rule("/v1/body", "body", lambda: request.get_json(), methods=["POST"])  # noqa: PLW0108
        app.add_url_rule("/v1/long/<path:model>", "long", lambda model: str(len(model)))
        self.client = app.test_client()

    @staticmethod
    def number(model: int) -> str:
        """Return which one it was."""
        return str(model)

    def key(self, *, rights: tuple[str, ...] = (), **limits: Any) -> str:
        """Issue a key."""
        issued = self.guard.issue(name="CI", tenant="acme", rights=rights, limits=Limits(**limits))
        secret: str = issued.secret.reveal()
        return secret

    def get(self, path: str, key: str, *, query: bool = False, **headers: str) -> Any:
        """Ask with a key in a header, or in the query."""
        if query:
            return self.client.get(path, query_string={"api_key": key}, headers=headers)
        return self.client.get(path, headers={"Authorization": f"Bearer {key}", **headers})


def rewriting(inner: Any) -> Any:
    """Return an application whose path is the one of a header."""

    def rewrite(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = environ.get("HTTP_X_PATH", environ["PATH_INFO"])
        return inner(environ, start_response)

    return rewrite


@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_demands_of_views_are_met_by_a_hidden_key(*, query: bool):
    """The first time and when it is remembered, whatever carried the key."""
    shop = Shop()
    reports, none = shop.key(scopes="reports"), shop.key()
    for _ in range(3):
        seen = shop.get("/v1/seen", reports, query=query)
        assert seen.status_code == 200
        assert "Authorization" not in seen.text
        assert shop.get("/v1/scoped", reports, query=query).text == "scoped"
        assert shop.get("/v1/scoped", none, query=query).status_code == 403


@pytest.mark.parametrize("query", [False, True], ids=["header", "query"])
def test_rewritten_request_is_decided_by_its_hidden_key(*, query: bool):
    """What stands between us and Flask changes the path, and not who calls."""
    shop = Shop(rewriting)
    key = shop.key(models={"1": "read"})
    for _ in range(3):
        first = shop.get("/v1/1", key, query=query)
        assert (first.status_code, first.text) == (200, "1")
        moved = shop.get("/v1/1", key, query=query, **{"X-Path": "/v1/2"})
        assert moved.status_code == 403
        home = shop.get("/v1/2", key, query=query, **{"X-Path": "/v1/1"})
        assert home.status_code == 403  # it must be permitted as what it came as, too


def test_view_reads_the_body_that_named_its_model():
    """And what is decided anew every time is not taken for another decision."""
    shop = Shop()
    key = shop.key(models={"chat": "write"})
    headers = {"Authorization": f"Bearer {key}"}
    for _ in range(3):
        answer = shop.client.post("/v1/body", json={"model": "chat", "n": 1}, headers=headers)
        assert answer.json == {"model": "chat", "n": 1}
        refused = shop.client.post("/v1/body", json={"model": "other"}, headers=headers)
        assert refused.status_code == 403


def test_path_too_long_to_be_remembered_is_served_every_time():
    """Also to a key that is limited in models."""
    shop = Shop()
    model = "x" * 250
    key = shop.key(models={model: "read"})
    for _ in range(3):
        assert shop.get(f"/v1/long/{model}", key).text == "250"


def test_request_that_is_only_reported_is_counted_once():
    """However often it is looked at, and each time that it comes."""
    shop = Shop()
    key = shop.key(networks="10.0.0.1", rights=("report_only",))
    for times in range(1, 4):
        assert shop.get("/v1/seen", key).status_code == 200
        assert list(shop.guard.engine.refuser.totals("would_refuse").values()) == [times]


def test_view_asks_a_key_that_only_reports_for_no_more():
    """What the guard lets pass and reports is not refused by the decorator of the view."""
    shop = Shop()
    key = shop.key(rights=("report_only",))
    for _ in range(2):
        assert shop.get("/v1/scoped", key).status_code == 200
