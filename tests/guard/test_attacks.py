"""What a site's own functions answer is checked before anybody relies on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from keybound import AsyncGuard, Guard, InputError, Limits, Route, Settings, SettingsError
from keybound.core.bodies import BodyFields
from keybound.core.decision import Allowed, Denied
from keybound.core.principals import Principal
from keybound.core.reasons import Reason
from keybound.core.sealing import NONCE_BYTES, SEALING_KEY_BYTES, Sealer
from keybound.core.told import PLAIN, ReadBody
from tests.core.heads import FakeHead

if TYPE_CHECKING:
    from keybound.core.head import Head


@pytest.mark.parametrize("tenant", ["*", "acme/*", "~", "acme/..", "", " acme", "a\nb", 7])
def test_home_of_a_principal_is_one_tenant(tenant: Any):
    """A claim of a token that reads ``*`` is no right to every tenant."""
    with pytest.raises(InputError, match="tenant"):
        Principal(id="u_1", tenant=tenant)


@pytest.mark.parametrize("limits", [None, {"read_only": True}, "read_only"])
def test_limits_of_a_principal_are_limits(limits: Any):
    """What is none is said when it is made, and not when somebody calls."""
    with pytest.raises(InputError, match="limits"):
        Principal(id="u_1", limits=limits)


def test_principal_without_tenants_has_its_home_alone():
    """As a key has."""
    principal = Principal(id="u_1", tenant="R1/acme", limits=Limits(read_only=True))
    guard = Guard.from_settings(
        database="memory://",
        routes=[Route("/d/{tenant:path}")],
        authenticators=[lambda _: principal],
    )
    for path, expected in (("/d/R1/acme", Allowed), ("/d/R1", Denied), ("/d/R2/acme", Denied)):
        head = FakeHead(path=path)
        outcome = guard.authorize("GET", path, *guard.reader.read(head))
        assert type(outcome) is expected


@pytest.mark.parametrize("error", [StopIteration, KeyError, RuntimeError])
def test_authenticator_that_raises_ends_its_request(error: type[Exception]):
    """Also with what no future can hold, for which a task would wait for ever."""

    def failing(_head: Head) -> Principal | None:
        raise error

    guard = AsyncGuard.from_settings(database="memory://", authenticators=[failing])

    async def ask() -> object:
        reading = guard.reader.read(FakeHead(path="/x"))
        return await asyncio.wait_for(guard.authorize("GET", "/x", *reading), 5)

    outcome = asyncio.run(ask())
    assert isinstance(outcome, Denied)
    assert outcome.reason is Reason.STORE_UNAVAILABLE


def test_id_of_a_denial_opens_whoever_was_refused():
    """Of a name that is longer than those of keys, as much as there is room for."""
    sealer = Sealer(bytes(range(SEALING_KEY_BYTES)))
    denied = Denied(Reason.TENANT_MISMATCH, key="x" + "ü" * 30)
    opened = sealer.open(sealer.seal(denied, at=0, nonce=bytes(NONCE_BYTES)))
    assert opened.key is not None
    assert opened.key.startswith("xüüü")


def test_header_for_tenants_needs_somebody_to_believe():
    """Without a proxy that is trusted, no request would ever have a tenant."""
    given = cast("Any", "header(X-Tenant)")
    with pytest.raises(SettingsError, match=r"tenant_from.*trusted_proxies"):
        Settings(database="memory://", tenant_from=given)
    Settings(database="memory://", tenant_from=cast("Any", "header(X-Tenant, any)"))
    Settings(database="memory://", tenant_from=given, client_ip="nginx")
    for trusted in (1, ("10.0.0.0/8",), ("unix:",)):
        Settings(database="memory://", tenant_from=given, trusted_proxies=trusted)


@pytest.mark.parametrize("name", ["tenant_from", "model_from"])
def test_functions_are_named_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch):
    """By the same text as anywhere."""
    monkeypatch.setenv(f"KEYBOUND_{name.upper()}", "os.path:basename")
    source = getattr(Settings.load({"database": "memory://"}), name)
    function = source.function if name == "tenant_from" else source.calls[0]
    assert function("/a/b") == "b"


def test_bodies_are_not_remembered():
    """A client would fill the memory with names of models."""
    guard = Guard.from_settings(
        database="memory://", routes=[Route("/x", model="body(model)", tenant="~")]
    )
    issued = guard.issue(name="CI", tenant="acme", limits=Limits(models="*:read, a:write"))
    raw = b"Bearer " + issued.secret.reveal().encode()
    fields = BodyFields(("model",))
    for number in range(5):
        told = PLAIN._replace(body=ReadBody(fields, (f"m{number}",)))
        assert isinstance(guard.authorize("GET", "/x", None, raw, told, None), Allowed)
    judge: Any = guard.engine.rules.judge_of(None)
    assert not judge._decisions  # noqa: SLF001 - what it remembers can be seen nowhere else


def test_peers_that_are_no_addresses_are_not_remembered():
    """A server that believes everybody hands on whatever a client writes into a header."""
    guard = Guard.from_settings(database="memory://")
    raw = b"Bearer " + guard.issue(name="CI", tenant="acme").secret.reveal().encode()
    judge: Any = guard.engine.rules.judge_of(None)
    for peer, remembered in (("x" * 65, 0), ("10.0.0.1", 1), (None, 2)):
        for _ in range(2):
            assert isinstance(guard.authorize("GET", "/x", peer, raw), Allowed)
        assert len(judge._decisions) == remembered  # noqa: SLF001 - as above
