"""A path that came encoded in a way that somebody might read otherwise: what it says is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

TENANTS = [Route("/of/{tenant}/{rest:path}"), Route("/rest/{rest:path}", tenant="~")]
MODELS = [Route("/m/{model}/{rest:path}"), Route("/chat/{rest:path}", model="chat")]


def reason(site: Site, path: str, raw: bytes | None, key: Any) -> str | None:
    """Return why a request is refused, if it is."""
    answer = site.request(path=path, raw_path=raw, key=key)
    return None if answer.status == 200 else str(answer.problem["reason"])


CROOKED = {
    "encoded slash": ("/of/acme/x", b"/of/acme%2Fx"),
    "encoded slash in small letters": ("/of/acme/x", b"/of/acme%2fx"),
    "encoded slash in another segment": ("/of/acme/x/y", b"/of/acme/x%2Fy"),
    "another path": ("/of/acme/x", b"/of/evil/x"),
    "another end": ("/of/acme/x", b"/of/acme/x/.."),
    "encoded otherwise": ("/of/acme/x", b"/of/acme/%78%00"),
}
STRAIGHT = {
    "plain": ("/of/acme/x", b"/of/acme/x"),
    "nothing told": ("/of/acme/x", None),
    "encoded letters": ("/of/acme/x y", b"/of/%61cme/x%20y"),
    "other letters": ("/of/acme/\u00e9", b"/of/acme/%C3%A9"),
    "start cut by a gateway": ("/of/acme/x", b"/api/v1/of/acme/x"),
    "encoded start cut by a gateway": ("/of/acme/x y", b"/api%20v1/of/acme/x%20y"),
}


@pytest.mark.parametrize(("path", "raw"), CROOKED.values(), ids=CROOKED)
def test_tenant_of_a_path_that_two_may_read_is_unknown(
    make_in_memory: Callable[..., Site], path: str, raw: bytes
):
    """Where the tenant comes from somewhere else, it is known all the same."""
    site = make_in_memory(routes=TENANTS)
    key, wide = site.issue(), site.issue(limits=Limits(tenants="*"))
    elsewhere = raw.replace(b"/of/acme", b"/rest/acme").replace(b"/of/evil", b"/rest/evil")
    for _ in range(2):
        assert reason(site, path, raw, key) == "tenant_unresolved"
        assert reason(site, path.replace("/of/acme", "/rest/acme"), elsewhere, key) is None
        assert reason(site, path, raw, wide) == "tenant_unresolved"


@pytest.mark.parametrize(("path", "raw"), CROOKED.values(), ids=CROOKED)
def test_model_of_a_path_that_two_may_read_is_unknown(
    make_in_memory: Callable[..., Site], path: str, raw: bytes
):
    """Whoever is not limited in models, or asks where the model is no field, passes."""
    site = make_in_memory(routes=MODELS)
    full = site.issue()
    key = site.issue(limits=Limits(models={"chat": "write", "acme": "write"}))
    path, raw = path.replace("/of", "/m"), raw.replace(b"/of", b"/m")
    for _ in range(2):
        assert reason(site, path, raw, key) == "model_unresolved"
        assert reason(site, path, raw, full) is None
        named = path.replace("/m/", "/chat/"), raw.replace(b"/m/", b"/chat/")
        assert reason(site, *named, key) is None


@pytest.mark.parametrize(("path", "raw"), STRAIGHT.values(), ids=STRAIGHT)
def test_path_that_came_in_another_spelling_is_the_same(
    make_in_memory: Callable[..., Site], path: str, raw: bytes | None
):
    """Encoded letters, and what a gateway cut off its start."""
    site = make_in_memory(routes=TENANTS)
    key = site.issue()
    for _ in range(2):
        assert reason(site, path, raw, key) is None
        assert reason(
            site, path.replace("acme", "evil"), raw and raw.replace(b"cme", b"vil"), key
        ) in {
            "tenant_mismatch",
            "tenant_unresolved",
        }
    assert {seen["keybound"].request_tenant for seen in site.served} == {"acme"}
