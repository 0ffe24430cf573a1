"""Who we are, told anew at every connection: rotated, slow, failing, or wrong."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from keybound import Guard, Settings
from keybound.caches import open_shared
from keybound.caches.credentials import Credentials
from keybound.caches.late import Late
from keybound.core.effects import Moment, ReadShared
from keybound.core.errors import CacheError, SettingsError
from keybound.core.secret import Secret
from tests.caches.conftest import SECRET

TIMEOUT = 0.4
SLACK = 1.0


class Provider(CredentialProvider):
    """Tells what the test says, and counts."""

    def __init__(self, answer: object) -> None:
        """Begin with an answer."""
        self.answer = answer
        self.asked = 0
        self.takes = 0.0

    def get_credentials(self) -> Any:
        """Tell it, after a while."""
        self.asked += 1
        time.sleep(self.takes)
        if isinstance(self.answer, type):
            message = "hunter2"
            raise self.answer(message)
        return self.answer


@pytest.fixture
def user(redis_server):
    """Return a function that sets the password of the user ``app``, whose connections are cut."""

    def user(password):
        with redis_server.client() as client:
            client.execute_command(
                *("ACL", "SETUSER", "app", "on", "resetpass", f">{password}", "~*", "+@all")
            )
            client.client_kill_filter(user="app")

    yield user
    with redis_server.client() as client:
        client.execute_command("ACL", "DELUSER", "app")


class Client:
    """One of the two clients, asked alike."""

    def __init__(self, url, given, *, awaiting):
        """Connect to nothing yet."""
        credentials = Credentials("redis_credentials", given)
        self.shared = open_shared(
            Secret(url), timeout=TIMEOUT, boot=time.monotonic, credentials=credentials
        )
        self._runner = asyncio.Runner() if awaiting else None

    def read(self):
        """Ask for a name."""
        asked = ReadShared((b"keybound:a",), Moment(time.monotonic(), 0.0))
        if self._runner is None:
            return self.shared.blocking.read(asked)
        return self._runner.run(self.shared.awaiting.read(asked))

    def rest(self):
        """Let the breaker have rested."""
        self.shared.link.breaker.open = False

    def close(self):
        """Let the connections go."""
        self.shared.blocking.close()
        if self._runner is not None:
            self._runner.run(self.shared.awaiting.close())
            self._runner.close()


@pytest.fixture(params=[False, True], ids=["blocking", "awaiting"])
def new_client(request, redis_url):
    """Return a function that makes clients with credentials."""
    clients = []

    def new(given):
        clients.append(Client(redis_url, given, awaiting=request.param))
        return clients[-1]

    yield new
    for client in clients:
        client.close()


def test_rotated_credentials_are_used_by_the_next_connection(user, new_client):
    """They are asked for at every connection, and at no other time."""
    provider = Provider(("app", "first"))
    user("first")
    client = new_client(provider)
    for _ in range(3):
        assert client.read() == [None]
    assert provider.asked == 1
    provider.answer = ("app", "second")
    user("second")
    assert client.read() == [None]
    assert provider.asked == 2
    user("third")
    with pytest.raises(CacheError, match="does not accept the user name and password"):
        client.read()


def test_every_form_of_a_provider_works(user, new_client):
    """One of redis-py, a function, and the name of either."""
    user("word")
    of_redis_py = UsernamePasswordCredentialProvider("app", "word")
    named = f"{__name__}:PROVIDER"
    for given in (of_redis_py, lambda: ("app", "word"), named, f"{__name__}:PROVIDER.answer_it"):
        assert new_client(given).read() == [None]


class _Named:
    def get_credentials(self):
        return self.answer_it()

    def answer_it(self):
        return ("app", "word")


PROVIDER = _Named()


def test_a_provider_that_is_slow_costs_a_timeout_and_is_used_in_the_end(user, new_client):
    """What it said too late is what the next connection says."""
    user("word")
    provider = Provider(("app", "word"))
    provider.takes = TIMEOUT * 2
    client = new_client(provider)
    started = time.monotonic()
    with pytest.raises(CacheError, match="no answer within redis_timeout"):
        client.read()
    assert time.monotonic() - started < TIMEOUT + SLACK
    time.sleep(TIMEOUT * 2)
    client.rest()
    started = time.monotonic()
    assert client.read() == [None]
    assert time.monotonic() - started < TIMEOUT
    assert provider.asked == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ValueError, "redis_credentials raised ValueError"),
        (("app", None), "redis_credentials answered tuple, not"),
        (("a", "b", "hunter2"), "redis_credentials answered tuple, not"),
        (b"hunter2", "redis_credentials answered bytes, not"),
        (None, "redis_credentials answered NoneType, not"),
        (("app", "hunter2"), "does not accept the user name and password"),
        ("hunter2", "does not accept the user name and password"),
    ],
)
def test_what_is_wrong_with_credentials_is_said_without_them(answer, said, new_client, caplog):
    """And it is a Redis that is not there: the store is asked."""
    client = new_client(Provider(answer))
    with pytest.raises(CacheError, match=said) as caught:
        client.read()
    assert "hunter2" not in caplog.text + str(caught.value)
    assert said in caplog.text


def test_a_name_that_leads_nowhere_is_said_when_it_is_first_asked(new_client):
    """The module that has it may be the one that makes the guard, so it is not imported before."""
    with pytest.raises(CacheError, match=r"redis_credentials: 'no\.such:thing' cannot be imported"):
        new_client("no.such:thing").read()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"redis_credentials": "a:b"}, "redis_credentials: is for redis, which is not set"),
        (
            {"redis": "redis://:hunter2@host", "redis_credentials": "a:b"},
            "redis_credentials: says who we are, and so does the URL",
        ),
        (
            {"redis": "redis://host?password=hunter2", "redis_credentials": "a:b"},
            "redis_credentials: says who we are, and so does the URL",
        ),
        (
            {"redis": "redis+cluster://me@host", "redis_credentials": "a:b"},
            "redis_credentials: says who we are, and so does the URL",
        ),
        ({"redis": "redis://host", "redis_credentials": 7}, "redis_credentials: is int"),
        ({"redis": "redis://host", "redis_credentials": "hunter"}, "redis_credentials: 'hunter'"),
        ({"redis": "redis://host", "redis_credentials": Provider}, "redis_credentials: is type"),
    ],
)
def test_settings_that_contradict_stop_the_start(settings, said):
    """The setting is named, and no password shown."""
    with pytest.raises(SettingsError, match=said) as caught:
        Settings.load({"secret": SECRET, **settings})
    assert "hunter2" not in str(caught.value)


def test_an_async_provider_is_refused():
    """It is called in a thread, where nothing awaits."""

    async def provider():
        return "word"

    with pytest.raises(SettingsError, match="is an async function"):
        Credentials("redis_credentials", provider)


def test_the_setting_is_the_same_in_environment_and_code(user, redis_url, monkeypatch):
    """``KEYBOUND_REDIS_CREDENTIALS`` names what code gives itself."""
    user("word")
    monkeypatch.setenv("KEYBOUND_REDIS", redis_url)
    monkeypatch.setenv("KEYBOUND_SECRET", SECRET)
    monkeypatch.setenv("KEYBOUND_REDIS_CREDENTIALS", f"{__name__}:PROVIDER")
    settings: list[dict[str, Any]] = [{}, {"redis_credentials": PROVIDER}]
    for given in settings:
        guard = Guard.from_settings(database="memory://", redis_timeout=1, **given)
        guard.engine.shared.blocking.check()
        assert "word" not in repr(guard.settings)


def test_who_comes_while_a_call_is_under_way_waits_for_the_same():
    """And a failure is nobody's but theirs who waited."""
    calls = []

    def slow():
        calls.append(1)
        time.sleep(0.05)
        if len(calls) == 1:
            raise ValueError
        return len(calls)

    late = Late(slow, name="a test")
    with pytest.raises(TimeoutError):
        late.within(0.0)
    with pytest.raises(ValueError, match=r"^$"):
        late.within(1.0)
    assert late.within(1.0) == 2
    assert late.within(1.0) == 3
