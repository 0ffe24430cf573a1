"""``keybound redis-acl``: what it prints is enough for everything, and for nothing else."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import NoPermissionError

from keybound.caches import open_shared
from keybound.caches.redis_dial import dial
from keybound.caches.redis_link import pack
from keybound.caches.redis_wires import Wire
from keybound.clocks import monotonic
from keybound.core.effects import Moment, Offer, ReadShared
from keybound.core.secret import Secret
from keybound.drivers import run as drive
from tests.services.redis_process import Process, server_of, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ran

SECRET = "a-secret-of-the-tests-0123456789-abcdef"
VERSIONS = ["valkey", "redis", "redis62", "debian"]
FORBIDDEN = [
    "GETRANGE other 0 -1",
    "GET keybound:1:a",
    "SET other x",
    "DEL keybound:1:a",
    "KEYS *",
    "SCAN 0",
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "ACL LIST",
    "ACL SETUSER keybound +@all",
    "INFO",
    "MONITOR",
    "SHUTDOWN",
    "REPLICAOF NO ONE",
    "CLIENT LIST",
    "PUBLISH other x",
    "SUBSCRIBE other",
    "PSUBSCRIBE *",
    "SCRIPT FLUSH",
    "CLUSTER RESET",
    "DUMP keybound:1:a",
    "EVAL 'return redis.call(\"GET\", KEYS[1])' 1 other",
    "EVAL 'return redis.call(\"FLUSHALL\")' 0",
    'EVAL \'return redis.call("SET", "other", "x")\' 1 keybound:1:a',
]


@pytest.fixture
def acl(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch):
    """Return a function that returns what the command prints for a URL."""
    monkeypatch.setenv("KEYBOUND_SECRET", SECRET)
    monkeypatch.setenv("KEYBOUND_DATABASE", "memory://")

    def acl(url: str) -> list[str]:
        monkeypatch.setenv("KEYBOUND_REDIS", url)
        ran = run("redis-acl")
        assert ran.status == 0, ran.err
        assert "hunter2" not in ran.out + ran.err
        assert "no password is set here" in ran.err
        return ran.out.splitlines()

    return acl


def everything(url: str) -> None:
    """Do all that keybound does with Redis."""
    shared = open_shared(Secret(url), timeout=5.0, boot=time.monotonic)
    shared.blocking.check()
    offers = [Offer(b"keybound:1:%d" % number, b"value", replace=False) for number in range(9)]
    shared.link.offers.add(offers)
    names = tuple(offer.name for offer in offers)
    asked = ReadShared(names, Moment(time.monotonic() + 60, 0.0))
    wait_for(lambda: shared.blocking.read(asked) == [b"value"] * len(names))
    shared.blocking.close()
    shared.link.offers.close()
    line = dial(url)
    line.connection.until.at = monotonic() + 5
    commands = pack(b"SUBSCRIBE", b"keybound:changes"), pack(b"PING")
    said = drive(line.converse(b"".join(commands), len(commands)), Wire(line.connection))
    assert not any(isinstance(each, Exception) for each in said)
    line.connection.disconnect()


def deny(client: redis.Redis, text: str) -> None:
    """Check that a user may not say this; in a script 6.2 calls that an error like any other."""
    with pytest.raises(redis.ResponseError) as caught:
        client.execute_command(*shlex.split(text))
    denied = isinstance(caught.value, NoPermissionError) or "NOPERM" in str(caught.value)
    in_script = "ACL failure in script", "The user executing the script can't "
    assert denied or any(text in str(caught.value) for text in in_script), caught.value


def refused(server: Process) -> None:
    """Check that the user can do nothing else."""
    with server.client(username="keybound", password="hunter2") as client:
        for text in FORBIDDEN:
            deny(client, text)


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest, tmp_path):
    """Return a server of one version."""
    server = Process(server_of(request.param), tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(("database", "rights"), [(0, 7), (5, 8)])
def test_the_user_of_a_server_can_do_what_keybound_does_alone(acl, server, database, rights):
    """In the first database it may not even choose another one."""
    url = f"redis://keybound:hunter2@127.0.0.1:{server.port}/{database}"
    (command,) = acl(url)
    assert command.count(" +") == rights
    server.say(*shlex.split(command), ">hunter2")
    everything(url)
    refused(server)
    with server.client(username="keybound", password="hunter2") as client:
        if not database:
            deny(client, "SELECT 1")


def test_a_user_that_is_there_keeps_its_password_and_loses_its_rights(acl, server):
    """The command may be said again after an upgrade."""
    server.say("ACL", "SETUSER", "keybound", "on", ">hunter2", "~*", "&*", "+@all")
    url = f"redis://keybound:hunter2@127.0.0.1:{server.port}"
    (command,) = acl(url)
    server.say(*shlex.split(command))
    everything(url)
    refused(server)


def test_users_of_servers_and_sentinels_can_do_what_keybound_does_alone(acl, watched):
    """Each has its own rights, and another password."""
    url = watched.url(user="keybound:hunter2@", options="?sentinel_username=keybound&")
    url += "sentinel_password=hunter2x"
    for_servers, for_sentinels = acl(url)
    try:
        for each in watched.servers:
            each.say(*shlex.split(for_servers), ">hunter2")
        for each in watched.sentinels:
            each.say(*shlex.split(for_sentinels), ">hunter2x")
        everything(url)
        refused(watched.primary)
        with watched.sentinels[0].client(username="keybound", password="hunter2x") as client:
            for text in ("SENTINEL MASTERS", "SENTINEL FAILOVER x", "PING", "SHUTDOWN", "INFO"):
                deny(client, text)
    finally:
        for each in (*watched.servers, *watched.sentinels):
            each.say("ACL", "DELUSER", "keybound")


def test_the_user_of_a_cluster_can_do_what_keybound_does_alone(acl, nodes):
    """On every node."""
    url = nodes.url(user="keybound:hunter2@")
    (command,) = acl(url)
    try:
        for each in nodes.nodes:
            each.say(*shlex.split(command), ">hunter2")
        everything(url)
        refused(nodes.owner(b"keybound:1:a"))
    finally:
        for each in nodes.nodes:
            each.say("ACL", "DELUSER", "keybound")


def test_without_redis_the_rights_are_those_of_one_server(run):
    """And a script gets them as JSON; the name of the user may be chosen, but not be a rule."""
    found = run("redis-acl --user app --json").data
    assert found["commands"][0].startswith("ACL SETUSER app on resetkeys resetchannels ~keybound:*")
    assert "no password" in found["password"]
    assert run("redis-acl --user 'app +@all'").status != 0
