"""The setting ``redis``: every form, and what is said of those that are none."""

from __future__ import annotations

import pytest

from keybound.caches.redis_urls import Address, Kind, RedisURL
from keybound.core.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "kind", "nodes", "primary", "shown"),
    [
        ("redis://u:p@h:1/2?x=p", Kind.SERVER, [], "", "redis://h:1/2"),
        ("unix:///run/redis.sock?db=2", Kind.SERVER, [], "", "unix:///run/redis.sock"),
        ("redis+sentinel://h/name", Kind.SENTINEL, [("h", 26379)], "name", None),
        (
            "rediss+sentinel://u:p@h:1,[::1]:2,[::2]/the%20name/3?sentinel_password=p",
            Kind.SENTINEL,
            [("h", 1), ("::1", 2), ("::2", 26379)],
            "the name",
            "rediss+sentinel://h:1,[::1]:2,[::2]:26379/the%20name/3",
        ),
        ("redis+cluster://h", Kind.CLUSTER, [("h", 6379)], "", "redis+cluster://h:6379"),
        (
            "rediss+cluster://:p%40@a:1,b,a:1/0",
            Kind.CLUSTER,
            [("a", 1), ("b", 6379)],
            "",
            "rediss+cluster://a:1,b:6379/0",
        ),
    ],
)
def test_every_form_is_read(text, kind, nodes, primary, shown):
    """And what may be shown of it holds neither user nor password, nor options."""
    url = RedisURL.parse(text)
    assert url.kind is kind
    assert url.nodes == tuple(Address(*each) for each in nodes)
    assert url.primary == primary
    assert shown is None or url.shown == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redis+sentinel://:hunter2@h:1", "does not name the primary"),
        ("redis+sentinel://:hunter2@h:1/", "does not name the primary"),
        ("redis+sentinel://:hunter2@h:1/name/x", "ends in what is no number of a database"),
        ("redis+sentinel://:hunter2@h:1/name/0/1", "ends in what is no number of a database"),
        ("redis+sentinel://:hunter2@h:1,/name", "has a host that cannot be read: number 2"),
        ("redis+sentinel://:hunter2@/name", "has a host that cannot be read: number 1"),
        ("redis+sentinel://:hunter2@h:0/name", "has a host that cannot be read: number 1"),
        ("redis+sentinel://:hunter2@h:70000/name", "has a host that cannot be read"),
        ("redis+sentinel://me:hunter2/name", "has a host that cannot be read"),
        ("redis+cluster://:hunter2@h:1/3", "names a database, and a Cluster has one alone"),
        ("redis+cluster://:hunter2@h:1:2", "has a host that cannot be read"),
        ("redis+cluster://:hun/ter2@h:1", "has an @ that is not escaped"),
        ("redis+cluster://:hun?ter2@h:1", "has an @ that is not escaped"),
        ("redis+cluster://:hun@ter2@h:1", "has an @ that is not escaped"),
        ("redis+cluster://:hunter2@h#1", "write them as %2F %3F %23 %40"),
        ("redis://:hunter2@h:1,h2:2/0", "names several hosts"),
        ("redis-sentinel://:hunter2@h/name", "does not begin with redis://, rediss://, unix://"),
        ("redis+cluster://" + ",".join(f"h{n}" for n in range(65)), "names 65 hosts"),
    ],
)
def test_a_url_that_is_none_names_the_fix_and_shows_nothing(text, said):
    """The setting is named; whatever may be of a password is not repeated."""
    with pytest.raises(SettingsError, match=r"^redis: ") as caught:
        RedisURL.parse(text)
    assert said in str(caught.value)
    assert "; write " in str(caught.value) or "; name " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "selects"),
    [
        ("redis://h", False),
        ("redis://h/0", False),
        ("redis://h/3", True),
        ("redis://h/0?db=3", True),
        ("unix:///3", False),
        ("unix:///3?db=1", True),
        ("redis+sentinel://h/3", False),
        ("redis+sentinel://h/3/4", True),
    ],
)
def test_a_database_other_than_the_first_is_known(text, selects):
    """Its user has to be allowed to choose it."""
    assert RedisURL.parse(text).selects is selects


def test_options_of_tls_are_for_sentinels_as_well_and_others_are_not():
    """Each URL that redis-py reads has what it needs."""
    url = RedisURL.parse(
        "rediss+sentinel://me:a%2Fb@h/name/1"
        "?sentinel_username=s&sentinel_password=c%2Fd&ssl_ca_certs=/x%20y&client_name=n"
    )
    assert url.server.reveal() == (
        "rediss://me:a%2Fb@localhost/1?ssl_ca_certs=%2Fx+y&client_name=n"
    )
    assert url.sentinel is not None
    assert url.sentinel.reveal() == "rediss://s:c%2Fd@localhost/?ssl_ca_certs=%2Fx+y"
