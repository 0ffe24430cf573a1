"""Who the client is behind proxies, through every shell, and what a server may have done to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

PROXY = ("10.0.0.1", 5000)
OFFICE, HOME = "203.0.113.7", "198.51.100.9"


def forwarded(*lines: str, name: bytes = b"x-forwarded-for") -> dict[str, Any]:
    """Return what proxies add to a request."""
    return {"headers": tuple((name, line.encode()) for line in lines)}


def reason(site: Site, key: Any, **sent: Any) -> str | None:
    """Return why a request is refused, if it is."""
    answer = site.request(key=key, **sent)
    return None if answer.status == 200 else str(answer.problem["reason"])


def limited(site: Site) -> Any:
    """Return a key for one office."""
    return site.issue(limits=Limits(networks=OFFICE))


def test_forwarded_address_counts_from_a_trusted_proxy(make_in_memory: Callable[..., Site]):
    """The last one that no trusted proxy has; of anybody else the peer counts."""
    site = make_in_memory(client_ip="x-forwarded-for", trusted_proxies=["10.0.0.0/24"])
    key = limited(site)
    for _ in range(2):
        assert reason(site, key, client=PROXY, **forwarded(OFFICE)) is None
        assert reason(site, key, client=PROXY, **forwarded(f"{HOME}, {OFFICE}, 10.0.0.9")) is None
        assert reason(site, key, client=PROXY, **forwarded(HOME, OFFICE)) is None
        for lines in ((HOME,), (f"{OFFICE}, {HOME}",), (OFFICE, HOME)):
            assert reason(site, key, client=PROXY, **forwarded(*lines)) == "network_not_allowed"
        assert reason(site, key, client=PROXY, **forwarded("nonsense")) == "network_unknown"
        assert reason(site, key, client=PROXY) == "network_not_allowed"
        assert reason(site, key, client=(HOME, 1), **forwarded(OFFICE)) == "network_not_allowed"
        assert reason(site, key, client=(OFFICE, 1), **forwarded(HOME)) is None


def test_header_of_proxies_is_not_read_unless_asked_for(make_in_memory: Callable[..., Site]):
    """Everybody could write one."""
    site = make_in_memory()
    key = limited(site)
    assert reason(site, key, client=(HOME, 1), **forwarded(OFFICE)) == "network_not_allowed"
    assert reason(site, key, client=(OFFICE, 1), **forwarded(HOME)) is None


@pytest.mark.parametrize("client", [None, ("", 0), (None, 0)], ids=["none", "empty", "no host"])
def test_peer_of_a_unix_socket_is_trusted_where_it_is_named(
    make_in_memory: Callable[..., Site], client: Any
):
    """It has no address: without a header nobody knows who asks."""
    site = make_in_memory(client_ip="nginx")
    key = limited(site)
    assert reason(site, key, client=client, **forwarded(OFFICE)) is None
    assert reason(site, key, client=client, **forwarded(HOME)) == "network_not_allowed"
    assert reason(site, key, client=client) == "network_unknown"
    other = make_in_memory(client_ip="x-forwarded-for", trusted_proxies=["10.0.0.0/24"])
    key = limited(other)
    assert reason(other, key, client=client, **forwarded(OFFICE)) == "network_unknown"


def test_entries_may_be_counted(make_in_memory: Callable[..., Site]):
    """From the right; where there are too few, nobody knows."""
    site = make_in_memory(trusted_proxies=2)
    key = limited(site)
    assert reason(site, key, **forwarded(f"{OFFICE}, 10.9.9.9")) is None
    assert reason(site, key, **forwarded(f"{HOME}, {OFFICE}, 10.9.9.9")) is None
    assert reason(site, key, **forwarded(f"{OFFICE}, {HOME}, 10.9.9.9")) == "network_not_allowed"
    assert reason(site, key, **forwarded(OFFICE)) == "network_unknown"
    assert reason(site, key) == "network_unknown"


def test_standard_header_is_read_where_it_is_chosen(make_in_memory: Callable[..., Site]):
    """And no other."""
    site = make_in_memory(client_ip="forwarded", trusted_proxies=["10.0.0.1"])
    key = limited(site)
    lines = {"client": PROXY, **forwarded(f'for="{OFFICE}:4711";proto=https', name=b"forwarded")}
    assert reason(site, key, **lines) is None
    assert reason(site, key, client=PROXY, **forwarded(OFFICE)) == "network_not_allowed"


def test_server_that_rewrites_its_peer_is_pointed_out_by_default_too(
    make_asgi_in_memory: Callable[..., Site], caplog: pytest.LogCaptureFixture
):
    """When a key is looked up, so that a request with a known one costs nothing."""
    caplog.set_level(logging.WARNING)
    site = make_asgi_in_memory()
    site.request(key=site.issue(), client=("127.0.0.1", 5000), **forwarded(OFFICE))
    assert "X-Forwarded-For" not in caplog.text
    for _ in range(3):
        site.request(key=site.issue(), client=(OFFICE, 0), **forwarded(OFFICE))
    assert caplog.text.count("the server has put an address of X-Forwarded-For") == 1


def test_server_that_rewrites_its_peer_is_pointed_out_once(
    make_asgi_in_memory: Callable[..., Site], caplog: pytest.LogCaptureFixture
):
    """It has no port then, or none that is one; what trusted_proxies says is in vain."""
    caplog.set_level(logging.WARNING)
    site = make_asgi_in_memory(client_ip="nginx")
    key = site.issue()
    site.request(key=key, client=("127.0.0.1", 5000), **forwarded(OFFICE))
    assert "X-Forwarded-For" not in caplog.text
    for _ in range(3):
        site.request(key=key, client=(OFFICE, 0), **forwarded(OFFICE))
    assert caplog.text.count("the server has put an address of X-Forwarded-For") == 1
