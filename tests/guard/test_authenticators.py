"""The site's own authenticators, one after the other: blocking or awaited, and never trusted."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import keybound.asgi
import keybound.wsgi
from keybound import Guard, Principal, SettingsError
from keybound.authenticators import Authenticators
from keybound.plugins import SiteFunction
from tests.core.heads import FakeHead

BOB = Principal(id="bob")
HEAD = FakeHead()


def knows(head):
    """Know everybody."""
    assert head is HEAD
    return BOB


async def knows_later(head):
    """Know everybody, after a while."""
    await asyncio.sleep(0)
    return knows(head)


def knows_nobody(_head):
    """Know nobody."""


async def knows_nobody_later(_head):
    """Know nobody, after a while."""


class Knowing:
    """An object that can be called."""

    async def __call__(self, head):
        """Know everybody."""
        return knows(head)


def hidden(head):
    """Know everybody, in a way that nobody sees is awaited."""
    return knows_later(head)


def ask(*authenticators: Any) -> Principal | None:
    """Ask them, blocking."""
    return Authenticators(authenticators).ask(HEAD)


def ask_async(*authenticators: Any) -> Principal | None:
    """Ask them, awaiting."""
    return asyncio.run(Authenticators(authenticators).ask_async(HEAD))


@pytest.mark.parametrize("asking", [ask, ask_async])
def test_first_that_knows_wins(asking):
    """Nobody knows where there is nobody."""
    assert asking() is None
    assert asking(knows_nobody) is None
    assert asking(knows_nobody, knows) is BOB
    assert asking(knows, lambda _head: 1 / 0) is BOB


@pytest.mark.parametrize(
    "authenticate", [knows_later, hidden, Knowing()], ids=["seen", "hidden", "object"]
)
def test_one_may_be_awaited(authenticate):
    """Where that can be; elsewhere it is said what to use, and nothing is left behind."""
    assert ask_async(knows_nobody_later, authenticate) is BOB
    with pytest.raises(SettingsError, match="use an AsyncGuard"):
        ask(authenticate)


def test_other_awaitables_are_refused_too():
    """Not only coroutines."""

    class Later:
        """Something to await."""

        def __await__(self):
            """Be done."""
            yield from ()
            return BOB

    assert ask_async(lambda _head: Later()) is BOB
    with pytest.raises(SettingsError, match="use an AsyncGuard"):
        ask(lambda _head: Later())


def test_one_that_blocks_has_a_thread():
    """The event loop goes on."""
    seen = []

    def blocking(_head):
        seen.append(threading.current_thread())

    assert ask_async(blocking) is None
    assert seen != [threading.main_thread()]
    assert ask(blocking) is None
    assert seen[1] is threading.main_thread()


@pytest.mark.parametrize("asking", [ask, ask_async])
@pytest.mark.parametrize("answer", [True, False, "bob", {}, Principal], ids=repr)
def test_answer_of_another_type_is_an_error(asking, answer):
    """It says the type, and nothing of the answer."""
    with pytest.raises(SettingsError, match=f"one answered {type(answer).__name__}"):
        asking(lambda _head: answer, knows)


@pytest.mark.parametrize("asking", [ask, ask_async])
def test_what_one_raises_ends_the_request(asking):
    """Those behind it are not asked."""

    def failing(_head):
        raise LookupError

    with pytest.raises(LookupError):
        asking(failing, knows)


def test_names_are_functions():
    """Blocking or not."""
    name = f"{__name__}:knows"
    assert ask(SiteFunction("authenticators", name)) is BOB
    assert ask_async(SiteFunction("authenticators", f"{name}_later")) is BOB
    assert bool(Authenticators([knows]))
    assert not Authenticators([])


def test_one_that_is_awaited_cannot_be_asked_by_what_blocks():
    """A middleware of WSGI with an async authenticator does not start."""

    async def authenticate(_head: object) -> None:
        """Know nobody."""

    guard = Guard.from_settings(database="memory://", authenticators=[authenticate])
    with pytest.raises(SettingsError, match="one is awaited; use an AsyncGuard"):
        keybound.wsgi.APIKeyMiddleware(_nothing, guard)
    keybound.asgi.APIKeyMiddleware(_nothing, guard.to_async())


def _nothing(*_given: object) -> Any:
    """Serve nobody."""
