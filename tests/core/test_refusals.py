"""Refusals: every denial has an answer, and dead and unknown keys have the same one."""

from __future__ import annotations

import json

import pytest

from keybound.core.chain import Check, State
from keybound.core.credentials import FORMS
from keybound.core.decision import Denied
from keybound.core.reasons import LIMIT_REASONS, Reason
from keybound.core.refusals import REFUSALS, RefusalResponse, Refusals

FORMS_ALL = tuple(FORMS.values())
ID = "i" * 128
DEAD_OR_UNKNOWN = [
    Reason.MALFORMED_CREDENTIALS,
    Reason.UNKNOWN_KEY,
    Reason.DISABLED,
    Reason.EXPIRED,
    Reason.NOT_YET_VALID,
    Reason.REVOKED,
    Reason.ROTATED,
]


def render(denied, **settings):
    """Return the answer of a site with both forms."""
    return Refusals(FORMS_ALL, **settings).render(denied, ID)


def headers(response, name):
    """Return all values of a header."""
    return [value for each, value in response.headers if each == name]


def test_every_reason_has_a_refusal():
    """No denial can reach a client without a status, and none is a success."""
    assert set(REFUSALS) == set(Reason)
    assert {refusal.status for refusal in REFUSALS.values()} == {400, 401, 403, 429, 503}
    assert set(Reason) >= LIMIT_REASONS


@pytest.mark.parametrize("reason", Reason)
def test_every_answer_is_a_whole_problem(reason):
    """RFC 9457: type, title and status, and the length of the body is right."""
    response = render(Denied(reason))
    body = json.loads(response.body)
    assert body["status"] == response.status == REFUSALS[reason].status
    assert body["type"].startswith("urn:keybound:problem:")
    assert body["id"] == ID
    assert headers(response, "content-length") == [str(len(response.body))]
    assert headers(response, "content-type") == ["application/problem+json"]
    assert headers(response, "cache-control") == ["no-store"]
    assert headers(response, "keybound-denial") == [ID]
    assert bool(headers(response, "www-authenticate")) is (response.status in {401, 403})
    assert bool(headers(response, "retry-after")) is (response.status in {429, 503})


def test_dead_and_unknown_keys_get_the_same_answer():
    """Byte for byte: nobody finds out which guessed key once existed."""
    check = Check("key_1", "key", State(True, True))  # noqa: FBT003
    denials = [Denied(reason) for reason in DEAD_OR_UNKNOWN]
    denials += [Denied(reason, key="key_1", check=check) for reason in DEAD_OR_UNKNOWN]
    (answer,) = {render(denied) for denied in denials}
    assert answer.status == 401
    assert b"key_1" not in answer.body


def test_a_site_may_reveal_why_a_key_is_dead_and_never_whether_one_exists():
    """Without a key there is nothing to reveal."""
    dead = render(Denied(Reason.EXPIRED, key="key_1"), reveal_reason=True)
    assert json.loads(dead.body)["reason"] == "expired"
    unknown = render(Denied(Reason.UNKNOWN_KEY), reveal_reason=True)
    assert unknown == render(Denied(Reason.MALFORMED_CREDENTIALS), reveal_reason=True)
    assert b"reason" not in unknown.body


def test_an_answer_is_prepared_once_and_differs_only_by_its_id():
    """The second answer of a kind is the first, with another id; kinds are not mixed up."""
    refusals = Refusals(FORMS_ALL, reveal_reason=True)
    denials = [
        Denied(Reason.REVOKED),
        Denied(Reason.REVOKED, key="key_1"),
        Denied(Reason.INSUFFICIENT_SCOPE, key="key_1", scopes=("a",)),
        Denied(Reason.INSUFFICIENT_SCOPE, key="key_1", scopes=("b",)),
    ]
    first = [refusals.render(denied, ID) for denied in denials]
    again = [refusals.render(denied, "j" * 128) for denied in denials]
    assert len(set(first)) == len(denials)
    assert [each.body.replace(b"j" * 128, ID.encode()) for each in again] == [
        each.body for each in first
    ]
    assert [refusals.render(denied, ID) for denied in denials] == first


def test_answers_that_clients_make_up_are_not_kept_for_ever():
    """A view may ask for scopes that name what a client asked for."""
    refusals = Refusals(FORMS_ALL)
    denials = (
        Denied(Reason.INSUFFICIENT_SCOPE, key="key_1", scopes=(f"project:{number}",))
        for number in range(2_000)
    )
    kept = set()
    for denied in denials:
        assert denied.scopes[0].encode() in refusals.render(denied, ID).body
        kept.add(len(refusals._prepared))  # noqa: SLF001
    assert max(kept) == 1_024


@pytest.mark.parametrize(
    ("denied", "challenges"),
    [
        (
            Denied(Reason.MISSING_CREDENTIALS),
            ['Bearer realm="shop"', 'ApiKey realm="shop", param="rest_api_key"'],
        ),
        (
            Denied(Reason.REVOKED),
            [
                'Bearer realm="shop", error="invalid_token"',
                'ApiKey realm="shop", param="rest_api_key", error="invalid_token"',
            ],
        ),
        (
            Denied(Reason.INSUFFICIENT_SCOPE, scopes=("a", "b")),
            [
                'Bearer realm="shop", error="insufficient_scope", scope="a b"',
                (
                    'ApiKey realm="shop", param="rest_api_key", error="insufficient_scope", '
                    'scope="a b"'
                ),
            ],
        ),
        (Denied(Reason.STORE_UNAVAILABLE), []),
    ],
    ids=lambda value: getattr(value, "reason", None),
)
def test_challenges_are_those_of_rfc_6750(denied, challenges):
    """One for each form; no error where no credential was sent."""
    assert headers(render(denied, realm="shop"), "www-authenticate") == challenges


def test_forms_that_ask_alike_ask_once():
    """The same challenge is never sent twice, whatever number of forms has it."""
    refusals = Refusals([*FORMS_ALL, *FORMS_ALL], realm="shop")
    assert refusals.challenges == (
        'Bearer realm="shop"',
        'ApiKey realm="shop", param="rest_api_key"',
    )
    for reason in (Reason.REVOKED, Reason.NETWORK_NOT_ALLOWED):
        sent = headers(refusals.render(Denied(reason), ID), "www-authenticate")
        assert len(sent) == len(set(sent)) == 2


def test_lines_of_one_header_may_be_one_line():
    """For a framework that knows no other: in their order, with commas (RFC 9110, 5.3)."""
    response = RefusalResponse(401, (("a", "1"), ("b", "2"), ("a", "3"), ("a", "1")), b"")
    assert response.fields == {"a": "1, 3, 1", "b": "2"}
    challenged = render(Denied(Reason.MISSING_CREDENTIALS), realm="shop").fields
    assert challenged["www-authenticate"] == (
        'Bearer realm="shop", ApiKey realm="shop", param="rest_api_key"'
    )


@pytest.mark.parametrize(
    ("varies", "sent"),
    [
        (("Authorization",), ["Authorization"]),
        (("Authorization", "X-API-Key", "authorization"), ["Authorization, X-API-Key"]),
        ((), []),
    ],
    ids=str,
)
def test_an_answer_says_which_headers_it_depends_on(varies, sent):
    """Each once, whatever its case; and nothing where there is none."""
    assert headers(render(Denied(Reason.REVOKED), varies=varies), "vary") == sent


def test_types_of_problems_are_stable():
    """Clients compare them, so another word is another interface."""
    assert {(refusal.status, refusal.problem) for refusal in REFUSALS.values()} == {
        (400, "invalid_request"),
        (401, "missing_credentials"),
        (401, "invalid_token"),
        (403, "forbidden"),
        (403, "insufficient_scope"),
        (429, "too_many_requests"),
        (503, "temporarily_unavailable"),
    }
