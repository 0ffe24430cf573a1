"""Whoever has no key of ours, and is known to the site: through every shell, the same decision."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Principal, Route, SettingsError
from keybound.testing.clock import START

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

TOKEN = b"Bearer token-of-bob"
ROUTES = [
    Route("/maybe", auth="optional"),
    Route("/open", auth="exempt"),
    Route("/scoped", scopes="reports"),
    Route("/model", model="body(model)"),
]
TENANT = "host({tenant}.example)"


class Knowing:
    """Knows who sends one token, and how often it was asked."""

    def __init__(self, token: bytes = TOKEN, **members: Any) -> None:
        """Know somebody."""
        self.asked = 0
        self._token = token
        self._members = {"id": "bob", "tenant": "acme"} | members

    def __call__(self, head: Any) -> Principal | None:
        """Say who it is."""
        self.asked += 1
        known = self._token in head.lines("authorization")
        return Principal(**self._members) if known else None

    async def wait(self, head: Any) -> Principal | None:
        """Say it after a while."""
        await asyncio.sleep(0)
        return self(head)


def test_principal_is_who_calls(make_in_memory: Callable[..., Site]):
    """The identity is made of it, every time anew."""
    bob = Knowing(name="Bob", owner="u_1", role="staff", metadata={"plan": "free"})
    site = make_in_memory(authenticators=[bob], routes=ROUTES)
    for _ in range(2):
        assert site.request(key=TOKEN).status == 200
    identity = site.served[-1]["keybound"]
    assert (identity.key_id, identity.name, identity.tenant) == ("bob", "Bob", "acme")
    assert (identity.owner, identity.role, identity.metadata) == ("u_1", "staff", {"plan": "free"})
    assert site.served[-1]["current"] is identity
    assert bob.asked == 2


def test_first_that_knows_wins(make_in_memory: Callable[..., Site]):
    """Who comes later is not asked; who knows nothing leaves it to the others."""
    other, bob, late = Knowing(b"Bearer other"), Knowing(), Knowing(id="late")
    site = make_in_memory(authenticators=[other, bob, late])
    assert site.request(key=TOKEN).status == 200
    assert site.served[-1]["keybound"].key_id == "bob"
    assert (other.asked, bob.asked, late.asked) == (1, 1, 0)


def test_whom_nobody_knows_is_refused_or_anonymous(make_in_memory: Callable[..., Site]):
    """As without authenticators."""
    bob = Knowing()
    site = make_in_memory(authenticators=[bob], routes=ROUTES)
    for key, reason in ((None, "missing_credentials"), (b"Basic eA==", "malformed_credentials")):
        answer = site.request(key=key)
        assert (answer.status, site.reason(answer)) == (401, reason)
        assert site.request(path="/maybe", key=key).status == 200
        assert site.served[-1]["keybound"] is None
    assert bob.asked == 4
    assert site.request(path="/maybe", key=TOKEN).status == 200
    assert site.served[-1]["keybound"].key_id == "bob"


def test_key_of_ours_never_reaches_an_authenticator(make_in_memory: Callable[..., Site]):
    """Good, dead or unknown; nor does what is two credentials, or where none is needed."""
    bob = Knowing()
    site = make_in_memory(
        authenticators=[bob], routes=ROUTES, credentials=["bearer", "header(X-API-Key)"]
    )
    good, dead = site.issue(), site.issue()
    site.guard.revoke(dead.id)
    unknown = b"Bearer " + site.guard.engine.format.generate(bytes(32)).reveal().encode()
    assert site.request(key=good).status == 200
    assert site.request(key=dead).status == 401
    assert site.request(key=unknown).status == 401
    assert site.request(path="/open", key=TOKEN).status == 200
    assert site.request(path="/a/../b", key=TOKEN).status == 400
    twice = ((b"authorization", TOKEN), (b"authorization", TOKEN))
    for headers in (twice, ((b"authorization", TOKEN), (b"x-api-key", b"x"))):
        for path in ("/own", "/maybe"):
            answer = site.request(path=path, headers=headers)
            # One line of WSGI has a comma, and no key of ours around it.
            assert answer.status == (401 if bob.asked else 400)
            bob.asked = 0
    assert bob.asked == 0


def test_limits_of_a_principal_hold(make_in_memory: Callable[..., Site]):
    """As those of a key: methods, networks, tenants, scopes by name, models, and its end."""
    limits = Limits(methods=["GET", "POST"], networks="203.0.113.7", models={"chat": "write"})
    site = make_in_memory(
        authenticators=[
            Knowing(limits=limits),
            Knowing(b"Bearer scoped", id="amy", limits=Limits(scopes="reports")),
            Knowing(b"Bearer ended", id="eve", expires_at=START + timedelta(days=1)),
        ],
        routes=ROUTES,
        tenant_from=TENANT,
    )
    host = (b"host", b"acme.example")
    chat = (host, (b"content-type", b"application/json"))

    def ask(method: str = "GET", key: bytes = TOKEN, **sent: Any) -> str | None:
        answer = site.request(method, **{"key": key, "headers": (host,)} | sent)
        return None if answer.status == 200 else site.reason(answer).value

    assert ask(path="/model") == "model_unresolved"
    assert ask("POST", path="/model", headers=chat, body=b'{"model": "chat"}') is None
    assert ask("POST", path="/model", headers=chat, body=b'{"model": "x"}') == "model_not_allowed"
    assert ask("PUT", path="/model", headers=chat) == "method_not_allowed"
    assert ask(path="/model", client=("198.51.100.9", 1)) == "network_not_allowed"
    assert ask(path="/model", headers=((b"host", b"evil.example"),)) == "tenant_mismatch"
    assert ask(path="/model", headers=()) == "tenant_unresolved"
    assert ask(path="/scoped") == "insufficient_scope"
    assert ask(path="/scoped", key=b"Bearer scoped") is None
    assert ask(key=b"Bearer ended") is None
    site.clock.advance(days=1)
    assert ask(key=b"Bearer ended") == "expired"


def test_authenticator_that_fails_ends_the_request(
    make_in_memory: Callable[..., Site], caplog: pytest.LogCaptureFixture
):
    """Nobody is let in by an error, not even where a key is optional; the operator is told."""
    said = "secret of the token"

    def failing(_head: object) -> Principal | None:
        raise LookupError(said)

    site = make_in_memory(authenticators=[failing, Knowing()], routes=ROUTES)
    for path in ("/own", "/maybe"):
        assert site.request(path=path, key=TOKEN).status == 503
    assert site.request(key=site.issue()).status == 200
    assert len(site.served) == 1
    assert "LookupError" in caplog.text
    assert TOKEN.decode() not in caplog.text


@pytest.mark.parametrize("answer", [True, "bob", {"id": "bob"}, object], ids=repr)
def test_answer_that_is_no_principal_lets_nobody_in(
    make_in_memory: Callable[..., Site], answer: Any, caplog: pytest.LogCaptureFixture
):
    """What an authenticator returns by mistake is a mistake."""
    site = make_in_memory(authenticators=[lambda _head: answer], routes=ROUTES)
    for path in ("/own", "/maybe"):
        assert site.request(path=path, key=TOKEN).status == 503
    assert site.served == []
    assert "authenticators" in caplog.text


def test_authenticator_may_be_named(make_in_memory: Callable[..., Site]):
    """It is imported with the first request that needs it."""
    site = make_in_memory(authenticators=["tests.shells.site_functions:knows_token"])
    assert site.request(key=TOKEN).status == 200
    assert site.served[0]["keybound"].key_id == "bob"
    assert site.request(key=b"Bearer other").status == 401


def test_authenticator_may_be_awaited_where_requests_are(
    make_in_memory: Callable[..., Site], caplog: pytest.LogCaptureFixture
):
    """A blocking guard cannot, and says so, at the latest when it is asked."""
    caplog.set_level(logging.ERROR)
    bob = Knowing()
    hidden: Any = lambda head: bob.wait(head)  # noqa: E731, PLW0108 - nobody sees that it is async
    seen_at_start: list[Any] = []
    for authenticate in (bob.wait, hidden):
        try:
            site = make_in_memory(authenticators=[authenticate])
        except SettingsError as error:
            seen_at_start.append((authenticate, error.fix))
            continue
        answer = site.request(key=TOKEN)
        if site.application.protocol == "asgi":
            assert answer.status == 200
            assert site.served[-1]["keybound"].key_id == "bob"
        else:
            assert answer.status == 503
            assert site.served == []
            assert "use an AsyncGuard" in caplog.text
    # Django has a guard of its own, which is made before anybody knows under what it runs.
    starts = site.application.framework == "django" or site.application.protocol == "asgi"
    assert seen_at_start == ([] if starts else [(bob.wait, "use an AsyncGuard")])


def test_credential_of_a_principal_is_the_sites_own(make_in_memory: Callable[..., Site]):
    """It is no key of ours, so the application may read it."""
    site = make_in_memory(authenticators=[Knowing()], hide_credentials=True)
    assert site.request(key=TOKEN, headers=((b"x-other", b"kept"),)).status == 200
    assert TOKEN in dict(site.headers).values()


def test_principal_that_is_none_is_not_made():
    """What an application might rely on is checked where it is made."""
    assert Principal(id="bob", expires_at=datetime.now(UTC)).limits == Limits()
