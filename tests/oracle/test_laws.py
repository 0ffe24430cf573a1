"""Laws of the real decision that need no second opinion: less never becomes more."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from keybound.caches import shelf
from keybound.core.errors import InputError
from keybound.stores import open_store
from tests.oracle.asking import requests_to, worlds
from tests.oracle.credentials import PLACES
from tests.oracle.evaluator import judge
from tests.oracle.real import limits_of
from tests.oracle.test_decisions import LATER, built, change, site
from tests.oracle.worlds import GROUPS, KEYS, layers, lifetimes, once_in
from tests.shells.sites import Site

ALLOWED = ("allowed", None, None)


def a_node(data, real, names=None):
    """Return a copy of any node, or of any of these."""
    name = data.draw(st.sampled_from(names or [*real.world["nodes"]]), label="node")
    return dict(real.world["nodes"][name])


def add_limit(data, real):
    """Restrict any node, as an administrator does."""
    layer = data.draw(layers() | lifetimes(), label="limit")
    try:
        real.guard.restrict(a_node(data, real)["id"], limits_of({"limits": [layer]}))
    except InputError:  # a key without a tenant has none that could be narrowed
        return


def add_group(data, real):
    """Put a key into one more group, which may be gone."""
    key = a_node(data, real, KEYS)
    group = data.draw(st.sampled_from([*GROUPS, "group_gone"]), label="group")
    real.put({**key, "groups": [*key["groups"], group]})


def add_parent(data, real):
    """Put a key that has no parent under one, which may be gone, or stand under the key."""
    key = a_node(data, real, KEYS)
    parent = data.draw(st.sampled_from([*KEYS, "key_gone"]), label="parent")
    real.put({**key, "parent": key["parent"] or parent})


def disable(data, real):
    """Suspend any node."""
    real.guard.disable(a_node(data, real)["id"])


def revoke(data, real):
    """End any node."""
    real.guard.revoke(a_node(data, real)["id"])


NARROWINGS = {law.__name__: law for law in (add_limit, add_group, add_parent, disable, revoke)}


@pytest.mark.parametrize("narrowing", NARROWINGS)
@settings(max_examples=settings().max_examples // 2)
@given(st.data(), worlds())
def test_what_is_narrowed_never_allows_more(narrowing, data, world):
    """No request is allowed after a node was narrowed, ended or added that was not before."""
    with built({**world, "down": False}) as real:
        asked = requests(data, real)
        before = [real.ask(request) for request in asked]
        NARROWINGS[narrowing](data, real)
        after = [real.ask(request) for request in asked]
    target(before.count(ALLOWED), label="allowed before")
    for was, becomes in zip(before, after, strict=True):
        assert becomes != ALLOWED or was == ALLOWED


@settings(max_examples=settings().max_examples // 2)
@given(st.data(), worlds())
def test_what_settings_take_away_never_allows_more(data, world):
    """Fewer forms in ``Authorization``, and ``*`` as a scope like any other, allow nothing new.

    Without another place it may: what stands there no longer contradicts anything.
    """
    with built(world) as real:
        asked = requests(data, real)
        before = [real.ask(request) for request in asked]
    narrowed = copy.deepcopy(world)
    narrowed["settings"]["wildcard_scopes"] = False
    forms = world["settings"]["credentials"]
    others = [form for form in forms if form.partition("(")[0] in PLACES]
    first = [form for form in forms if form not in others][:1]
    narrowed["settings"]["credentials"] = [*first, *others]
    with built(narrowed) as real:
        after = [real.ask(request) for request in asked]
    for was, becomes in zip(before, after, strict=True):
        assert becomes != ALLOWED or was == ALLOWED


@settings(max_examples=settings().max_examples // 2)
@given(st.data(), worlds())
def test_who_is_trusted_less_gets_no_more(data, world):
    """Without proxies, nobody is somebody else: what was refused is refused.

    Of limits that name no proxy, as a proxy is the client where it is not trusted; and where the
    tenant is said once, as one that is not believed contradicts nothing.
    """
    named = [layer for node in world["nodes"].values() for layer in node["limits"]]
    for layer in named:
        if "!" in str(layer.get("networks")) or "10.0.0.9" in str(layer.get("networks")):
            layer["networks"] = ["10.0.0.0/29", "::1"]
    world["settings"]["trusted_proxies"] = ["192.0.2.0/24"]
    if world["settings"]["tenant_from"] is not None:
        world["routes"] = [{"path": "/plain"}]
    with built(world) as real:
        asked = requests(data, real)
        before = [real.ask(request) for request in asked]
    less = copy.deepcopy(world)
    kept = ["192.0.2.7"] if world["settings"]["tenant_from"] == "header(X-Tenant)" else []
    less["settings"]["trusted_proxies"] = kept
    with built(less) as real:
        after = [real.ask(request) for request in asked]
    for was, becomes in zip(before, after, strict=True):
        assert becomes != ALLOWED or was == ALLOWED


def requests(data, real):
    """Return requests to a world that was built."""
    return data.draw(st.lists(requests_to(real.world), min_size=1, max_size=6), label="requests")


@settings(max_examples=settings().max_examples // 2)
@given(st.data(), worlds())
def test_what_is_remembered_is_what_would_be_decided_anew(data, world):
    """Whatever was asked before, changed, or done to the clocks: a new process agrees."""
    with built({**world, "down": False}) as real:
        asked = requests(data, real)
        for request in data.draw(st.lists(st.sampled_from(asked), max_size=8), label="again"):
            real.clock.advance(seconds=data.draw(LATER, label="seconds pass"))
            if data.draw(once_in(4), label="set the clock"):
                real.clock.behind = data.draw(st.sampled_from([-50, 1, 50, 100, 0]), label="behind")
            if data.draw(once_in(4), label="change"):
                change(data, real)
            anew = real.ask_anew(request)
            assert real.ask(request) == anew
            assert real.ask_warm(request) in {anew, None}
            assert real.ask(request) == anew


@given(st.data(), worlds())
def test_keys_that_are_alike_are_decided_on_alike(data, world):
    """Among many with room for one: some are packed, some allowed what another one was."""
    twins = {
        f"{name}{number}": {**world["nodes"][name], "id": f"{name}{number}", **alone}
        for name in KEYS
        for number in range(4)
        for alone in [data.draw(st.sampled_from([{}, {"parent": None, "groups": []}]))]
    }
    asked = {"settings": {**world["settings"], "cache_compiled_max": 1}, "down": False}
    with (
        pytest.MonkeyPatch.context() as patch,
        built({**world, **asked, "nodes": world["nodes"] | twins}) as real,
    ):
        patch.setattr(shelf, "ONCE_MAX", 1)  # or those that come twice would be kept
        for request in requests(data, real):
            for name in data.draw(st.permutations([*twins] * 2), label="keys"):
                again = as_of(request, real.world, name)
                assert real.ask(again) == judge(real.world, again, real.clock.wall())


def as_of(request, world, name):
    """Return a request with another key in the place of those that it has."""
    secrets = [node["secret"] for node in world["nodes"].values() if node["kind"] == "key"]

    def put(text):
        for secret in secrets:
            text = text.replace(secret, world["nodes"][name]["secret"])
        return text

    headers = [(header, put(value)) for header, value in request["headers"]]
    return {**request, "headers": headers, "query": put(request["query"])}


UNRELATED = (
    *("accept", "cookie", "user-agent", "x-forwarded-for", "forwarded", "x-real-ip", "host"),
    *("proxy-authorization", "x-authorization", "authorization-", "x-keybound-tenant", "x-api-key"),
    *("x-tenant", "x-model", "content-length", "content-type", "via", "authorizatio"),
)
VALUES = st.sampled_from(
    [b"", b"*/*", b"10.0.0.1", b"for=10.0.0.1", b"acme", b"Bearer x", b"a=b; c=d", b"\xff", b"0"]
)
HEADERS = st.lists(
    st.tuples(st.sampled_from([name.encode() for name in UNRELATED]), VALUES), max_size=5
)


@pytest.mark.parametrize("shape", ["asgi", "wsgi"])
def test_headers_that_nobody_was_told_of_change_nothing(shape):
    """The same is decided with them, without them, and in whatever order they come."""
    with site():
        guarded = Site(shape, open_store("memory://"), routes=[{"path": "/m/{model}"}])
        limits = {"networks": "203.0.113.0/24", "models": "m:read"}
        key = guarded.issue(limits=limits)
        value = b"Bearer " + key.secret.reveal().encode()

        @settings(max_examples=settings().max_examples // 2)
        @given(
            HEADERS,
            st.sampled_from(["GET", "POST"]),
            st.sampled_from(["/m/m", "/m/n", "/"]),
            st.sampled_from(["203.0.113.9", "192.0.2.1", None]),
            st.sampled_from([value, b"Bearer x", None]),
            st.randoms(use_true_random=False),
        )
        def law(others, method, path, peer, raw, chance):
            own = [] if raw is None else [(b"authorization", raw)]
            mixed = [*own, *others]
            chance.shuffle(mixed)
            request = {"method": method, "path": path, "client": peer and (peer, 1)}
            plain = told(guarded, guarded.request(**request, headers=tuple(own)))
            assert told(guarded, guarded.request(**request, headers=tuple(mixed))) == plain

        law()
        guarded.guard.close()


def told(guarded, answer):
    """Return the status of an answer, and why it is a refusal."""
    denials = answer.all("keybound-denial")
    return answer.status, *(guarded.guard.explain_denial(each).reason for each in denials)
