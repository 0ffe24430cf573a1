"""TLS to one server, to Sentinels and what they watch, and into a Cluster: always verified."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from keybound.caches import open_shared, redis_dial
from keybound.core.decision import Allowed
from keybound.core.effects import Moment, ReadShared
from keybound.core.errors import CacheError, SettingsError
from keybound.core.secret import Secret
from tests.caches.test_redis import share
from tests.services.redis_fleets import SLOTS
from tests.services.redis_process import Process, server_of, wait_for
from tests.services.tls import certify, tls_in_front


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a certificate for localhost and 127.0.0.1."""
    certify(tmp_path)
    return tmp_path


def ask(url, *, awaiting, timeout=2.0):
    """Ask for a name; return what is there, or why nobody knows."""
    shared = open_shared(Secret(url), timeout=timeout, boot=time.monotonic)
    asked = ReadShared((b"keybound:a",), Moment(time.monotonic(), 0.0))

    async def main():
        try:
            return await shared.awaiting.read(asked)
        finally:
            await shared.awaiting.close()

    try:
        return asyncio.run(main()) if awaiting else shared.blocking.read(asked)
    except CacheError as error:
        return str(error)
    finally:
        shared.blocking.close()


@pytest.fixture(params=[False, True], ids=["blocking", "awaiting"])
def awaiting(request):
    """Return which of the two clients asks."""
    return request.param


def test_tls_is_verified(fleet, redis_server, redis_database, redis_client, folder):
    """``rediss://`` works with the authority that the URL names, and not without it."""
    with tls_in_front(redis_server.port, folder) as port:
        fleet.url = f"rediss://localhost:{port}/{redis_database}?ssl_ca_certs={folder}/cert.pem"
        first = fleet.join()
        issued = first.issue(name="CI")
        share(first, redis_client, issued)
        loads = fleet.store.loads
        assert isinstance(fleet.join().ask(issued), Allowed)
        assert fleet.store.loads == loads
        fleet.url = f"rediss://localhost:{port}/{redis_database}"
        assert isinstance(fleet.join().ask(issued), Allowed)
        assert fleet.store.loads == loads + 1


def test_the_name_of_the_server_is_verified(redis_server, tmp_path, awaiting):
    """Unless the URL says otherwise, in the words of redis-py, of whichever version."""
    certify(tmp_path, host="redis.example")
    with tls_in_front(redis_server.port, tmp_path) as port:
        url = f"rediss://localhost:{port}/63?ssl_ca_certs={tmp_path}/cert.pem"
        assert "certificate" in ask(url, awaiting=awaiting).lower()
        assert ask(f"{url}&ssl_check_hostname=false", awaiting=awaiting) == [None]
        unverified = f"rediss://localhost:{port}/63?ssl_cert_reqs=none"
        assert ask(unverified, awaiting=awaiting) == [None]


def test_a_certificate_of_ours_is_shown(redis_server, folder, tmp_path, awaiting):
    """And a new one is taken up when the files are replaced, without a restart."""
    own = tmp_path / "own"
    own.mkdir()
    certify(own)
    with tls_in_front(redis_server.port, folder, client_authority=own / "cert.pem") as port:
        url = f"rediss://localhost:{port}/63?ssl_ca_certs={folder}/cert.pem"
        assert isinstance(ask(url, awaiting=awaiting), str)
        url += f"&ssl_certfile={own}/cert.pem&ssl_keyfile={own}/key.pem"
        assert ask(url, awaiting=awaiting) == [None]


def test_a_replaced_certificate_is_taken_up(redis_server, tmp_path):
    """The files are looked at whenever a connection is made."""
    certify(tmp_path)
    shared = None
    for _ in range(2):
        with tls_in_front(redis_server.port, tmp_path) as port:
            if shared is None:
                url = f"rediss://localhost:{port}/63?ssl_ca_certs={tmp_path}/cert.pem"
                shared = open_shared(Secret(url), timeout=2.0, boot=time.monotonic)
            else:
                shared.blocking._talk[0].connection.port = port  # noqa: SLF001 - where it is now
            asked = ReadShared((b"keybound:a",), Moment(time.monotonic(), 0.0))
            assert shared.blocking.read(asked) == [None]
            shared.blocking.close()
        certify(tmp_path)


def test_certificates_are_read_before_the_first_request(redis_server, folder, monkeypatch):
    """Those of all authorities take longer than a request may: connecting does not read them."""
    made: list[Any] = []
    context = redis_dial._context  # noqa: SLF001 - what reads them

    def make(given):
        made.append(given)
        return context(given)

    monkeypatch.setattr(redis_dial, "_context", make)
    with tls_in_front(redis_server.port, folder) as port:
        url = f"rediss://localhost:{port}/63?ssl_ca_certs={folder}/cert.pem"
        shared = open_shared(Secret(url), timeout=2.0, boot=time.monotonic)
        assert len(made) == 1
        asked = ReadShared((b"keybound:a",), Moment(time.monotonic(), 0.0))
        for _ in range(3):
            assert shared.blocking.read(asked) == [None]
            shared.blocking.close()
        assert len(made) == 1


@pytest.mark.parametrize("form", ["rediss://h/0", "rediss+sentinel://h/name", "rediss+cluster://h"])
def test_files_that_cannot_be_used_stop_the_start(form, tmp_path):
    """The option is named."""
    with pytest.raises(SettingsError, match=r"No such file.*look at ssl_ca_certs"):
        open_shared(
            Secret(f"{form}?ssl_ca_certs={tmp_path}/none"), timeout=1.0, boot=time.monotonic
        )


def test_sentinels_and_what_they_watch_are_asked_over_tls(tmp_path, folder, awaiting):
    """With the same options for both."""
    binary = server_of("valkey")
    server = Process(binary, tmp_path)
    sentinel = Process(binary, tmp_path, sentinel="sentinel deny-scripts-reconfig yes")
    try:
        server.start()
        sentinel.start()
        with tls_in_front(server.port, folder) as one, tls_in_front(sentinel.port, folder) as other:
            sentinel.say("SENTINEL", "MONITOR", "name", "127.0.0.1", one, 9)
            url = f"rediss+sentinel://127.0.0.1:{other}/name"
            assert "certificate" in ask(url, awaiting=awaiting).lower()
            assert ask(f"{url}?ssl_ca_certs={folder}/cert.pem", awaiting=awaiting) == [None]
    finally:
        sentinel.stop()
        server.stop()


def test_every_node_of_a_cluster_is_asked_over_tls(tmp_path, folder, awaiting):
    """Also those that only the Cluster names."""
    node = Process(server_of("valkey"), tmp_path, "--cluster-enabled", "yes")
    try:
        node.start()
        node.say("CLUSTER", "ADDSLOTS", *range(SLOTS))
        wait_for(lambda: b"cluster_state:ok" in node.said("CLUSTER", "INFO"))
        with tls_in_front(node.port, folder) as port, tls_in_front(node.port, folder) as seed:
            node.say("CONFIG", "SET", "cluster-announce-port", port)
            url = f"rediss+cluster://localhost:{seed}?ssl_ca_certs={folder}/cert.pem"
            assert ask(url, awaiting=awaiting) == [None]
    finally:
        node.stop()
