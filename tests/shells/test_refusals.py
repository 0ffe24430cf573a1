"""What a refusal looks like, and what it keeps to itself."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Limits, Reason, Route, SettingsError
from keybound.core.refusals import REFUSALS
from tests.shells.sites import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.calls import Answer
    from tests.shells.sites import Site


def dead_keys(site: Site) -> dict[str, bytes]:
    """Return a credential for every reason of the one answer to what is no valid key."""
    disabled, revoked, orphan = site.issue(), site.issue(), site.issue()
    site.guard.disable(disabled.id)
    site.guard.revoke(revoked.id)
    child = site.issue(parent=orphan.id)
    site.guard.disable(orphan.id)
    unborn = site.issue(limits=Limits(not_before="2030-01-01T00:00:00Z"))
    expired = site.issue(expires_in="1h")
    unknown = site.guard.engine.format.generate(bytes(32))
    site.clock.advance(hours=2)
    issued = {
        "disabled": disabled,
        "revoked": revoked,
        "parent": child,
        "unborn": unborn,
        "expired": expired,
    }
    values = {name: authorization(key)[0][1] for name, key in issued.items()}
    return values | {
        "unknown": b"Bearer " + unknown.reveal().encode(),
        "malformed": b"Bearer nonsense",
        "other form": b"Basic dTpw",
    }


def without_id(answer: Answer) -> Any:
    """Return everything of an answer but the id of the denial, which is everywhere as long."""
    denial = answer.denial
    assert len(denial) == 96
    assert answer.body.count(denial.encode()) == 1
    headers = [(name, value.replace(denial, "")) for name, value in answer.headers]
    return answer.status, headers, answer.body.replace(denial.encode(), b"")


def test_dead_and_unknown_keys_are_answered_alike(make: Callable[..., Site]):
    """Nobody learns whether a key ever existed: byte for byte one answer, but for the id."""
    site = make()
    answers = {name: site.request(key=value) for name, value in dead_keys(site).items()}
    (alike,) = {repr(without_id(answer)) for answer in answers.values()}
    assert "invalid_token" in alike
    reasons = {name: site.guard.explain_denial(a.denial).reason for name, a in answers.items()}
    assert len(set(reasons.values())) == 6
    assert len({answer.denial for answer in answers.values()}) == len(answers)


def test_a_refusal_of_a_head_request_has_no_body(make: Callable[..., Site]):
    """It says how long that of a GET would be, and sends nothing (RFC 9110 section 9.3.2)."""
    answer = make().request("HEAD", key=b"Bearer nonsense")
    assert answer.status == 401
    assert answer.body == b""
    assert int(answer.all("content-length")[0]) > 0


def test_site_may_reveal_why_a_key_is_dead(make: Callable[..., Site]):
    """With the setting, holders of a dead key learn why; whoever guesses learns nothing."""
    site = make(reveal_reason=True)
    answers = {name: site.request(key=value) for name, value in dead_keys(site).items()}
    told = {name: answer.problem.get("reason") for name, answer in answers.items()}
    assert told == {
        "disabled": "disabled",
        "revoked": "revoked",
        "parent": "disabled",
        "unborn": "not_yet_valid",
        "expired": "expired",
        "unknown": None,
        "malformed": None,
        "other form": None,
    }


def test_missing_credential_is_asked_for_without_an_error(make: Callable[..., Site]):
    """Who sent nothing made no mistake: challenges without an error code (RFC 6750 section 3.1)."""
    answer = make(realm="shop").request()
    assert answer.status == 401
    assert answer.challenges == [
        'Bearer realm="shop"',
        'ApiKey realm="shop", param="rest_api_key"',
    ]


def test_bad_key_is_asked_for_again_with_an_error(make: Callable[..., Site]):
    """Who sent something that does not work is told so, in every form that is read."""
    answer = make().request(key=b"Bearer nonsense")
    assert answer.challenges == [
        'Bearer realm="api", error="invalid_token"',
        'ApiKey realm="api", param="rest_api_key", error="invalid_token"',
    ]


def test_missing_scope_names_all_scopes_of_the_route(make: Callable[..., Site]):
    """Who lacks a scope learns which ones the route needs, in the challenge and in the body."""
    site = make(routes=[Route("/reports", scopes="reports ui")])
    answer = site.request(path="/reports", key=site.issue(limits=Limits(scopes=["ui"])))
    assert answer.status == 403
    assert answer.problem["scopes"] == ["reports", "ui"]
    first, _ = answer.challenges
    assert first == 'Bearer realm="api", error="insufficient_scope", scope="reports ui"'


def test_refusal_is_a_problem_that_nobody_keeps(make: Callable[..., Site]):
    """Every refusal is a problem document with its own length, and is not stored anywhere."""
    site = make(routes=[Route("/", model="message")])
    key = site.issue(limits=Limits(models={"invoice": "read"}))
    for answer, status in (
        (site.request(), 401),
        (site.request(key=b"Bearer a,Bearer b"), 400),
        (site.request(path="/", key=key), 403),
        (site.request(path="/x/../y", key=key), 400),
    ):
        assert answer.status == status
        assert answer.all("content-type") == ["application/problem+json"]
        assert answer.all("content-length") == [str(len(answer.body))]
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("vary") == ["Authorization"]
        problem = answer.problem
        assert problem["status"] == status
        assert problem["id"] == answer.denial
        assert {"type", "title", "detail"} < set(problem)


def test_refusal_tells_the_reason_and_never_what_is_stored(make: Callable[..., Site]):
    """A 403 says which kind of limit it was, and nothing of any limit, key or node."""
    site = make(routes=[Route("/{tenant}", model="message")])
    key = site.issue(
        name="secret-name",
        owner="u_42",
        limits=Limits(tenants="acme", networks="192.0.2.77", models={"hidden-model": "read"}),
        metadata={"note": "hidden-note"},
    )
    for path, peer, reason in (
        ("/evil", "192.0.2.77", "tenant_mismatch"),
        ("/acme", "198.51.100.1", "network_not_allowed"),
        ("/acme", "192.0.2.77", "model_not_allowed"),
    ):
        answer = site.request(path=path, key=key, client=(peer, 1))
        assert answer.problem["reason"] == reason
        said = json.dumps(answer.headers) + answer.body.decode()
        stored = ("secret-name", "u_42", "acme", "192.0.2.77", "hidden", key.id, "kb_live")
        assert [value for value in stored if value in said] == []


def test_refusal_repeats_nothing_that_was_sent(make: Callable[..., Site]):
    """What a client sends does not come back, so that nothing can be smuggled into the answer."""
    site = make()
    marker = "<script>alert(1)</script>"
    answer = site.request(
        path=f"/{marker}",
        key=f"Bearer {marker}".encode(),
        query_string=marker.encode(),
        headers=((b"host", marker.encode()), (b"user-agent", marker.encode())),
    )
    assert answer.status == 401
    assert "script" not in json.dumps(answer.headers) + answer.body.decode()


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/x\r\nINFO forged", b"x"),
        ("/\x1b[2J\x1b[31m", b"x"),
        ("/own", b'","level":"INFO","msg":"ok'),
        ("/%s%n{0.__class__}", b"%s%n{0.__class__}"),
        ("/" + "a" * 60_000, b"a" * 60_000),
    ],
    ids=["lines", "escapes", "members", "formats", "length"],
)
@pytest.mark.parametrize("key", [None, b"Bearer nonsense"], ids=["without", "with"])
def test_log_of_a_refusal_repeats_nothing_that_was_sent(
    make: Callable[..., Site],
    caplog: pytest.LogCaptureFixture,
    path: str,
    sent: bytes,
    key: bytes | None,
):
    """One short line of JSON, whatever a path, a header or a query holds."""
    site = make()
    headers = ((b"host", sent), (b"x-request-id", sent), (b"user-agent", sent))
    with caplog.at_level(logging.DEBUG):
        answer = site.request(path=path, key=key, headers=headers, query_string=sent)
    assert answer.status in {400, 401}
    (record,) = [each for each in caplog.records if each.name == "keybound.denials"]
    line = record.getMessage()
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 400
    assert json.loads(line)["id"] == answer.denial
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("keybound")]
    said = " ".join(ours).replace(answer.denial, "")  # which is random
    assert [mark for mark in ("forged", "[2J", "level", "%s", "aaaa") if mark in said] == []


def test_denial_is_explained_by_its_id_alone(make: Callable[..., Site]):
    """The operator opens the id and sees reason, key, node and clause; nobody else can."""
    site = make()
    key = site.issue(limits=Limits(read_only=True))
    answer = site.request("POST", key=key)
    explained = site.guard.explain_denial(answer.denial)
    assert explained.reason is Reason.METHOD_NOT_ALLOWED
    assert explained.key == key.id
    assert explained.step is not None
    assert explained.step.node == key.id
    assert explained.at == site.clock.now


def test_every_reason_has_a_refusal():
    """No denial can reach a client without a status."""
    assert set(Reason) == set(REFUSALS)


@pytest.mark.parametrize(
    "realm", ['a "shop"', "a\\shop", "L\u00e4den", "\u5e97", "\ud800", "a\r\nb: c"]
)
def test_odd_realm_breaks_no_refusal(make: Callable[..., Site], realm: str):
    """A realm that no challenge can carry is refused by the settings, or carried somehow."""
    try:
        site = make(realm=realm)
    except SettingsError:
        return
    answer = site.request()
    assert answer.status == 401
    assert all(value.isascii() and "\n" not in value for value in answer.all("www-authenticate"))
