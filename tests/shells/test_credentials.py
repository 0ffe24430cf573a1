"""What is a credential, and what every other ``Authorization`` is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keybound import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.sites import Site

ACCEPTED = {
    "bearer": b"Bearer %s",
    "small letters": b"bearer %s",
    "capitals": b"BEARER %s",
    "several blanks": b"Bearer   %s",
    "blanks around": b" \tBearer %s \t",
    "parameter": b"rest_api_key=%s",
    "parameter in capitals": b"REST_API_KEY=%s",
    "blanks around =": b"rest_api_key = %s",
    "quoted parameter": b'rest_api_key="%s"',
}

REFUSED = {
    "nothing": (b"", "malformed_credentials"),
    "blank": (b" ", "malformed_credentials"),
    "scheme alone": (b"Bearer", "malformed_credentials"),
    "scheme and blank": (b"Bearer ", "malformed_credentials"),
    "bare key": (b"%s", "malformed_credentials"),
    "other scheme": (b"Basic %s", "malformed_credentials"),
    "other parameter": (b"api_key=%s", "malformed_credentials"),
    "tab after the scheme": (b"Bearer\t%s", "malformed_credentials"),
    "no-break space": (b"Bearer\xa0%s", "malformed_credentials"),
    "no-break space at the end": (b"Bearer %s\xa0", "malformed_credentials"),
    "file separator at the end": (b"Bearer %s\x1c", "malformed_credentials"),
    "quoted": (b'Bearer "%s"', "malformed_credentials"),
    "half quoted parameter": (b'rest_api_key="%s', "malformed_credentials"),
    "two keys in one": (b"Bearer %s %s", "malformed_credentials"),
    "two forms in one": (b"Bearer rest_api_key=%s", "malformed_credentials"),
    "comma at the end": (b"Bearer %s,", "duplicate_credentials"),
    "two joined by a comma": (b"Bearer %s, Bearer %s", "duplicate_credentials"),
    "padding": (b"Bearer %s==", "malformed_credentials"),
    "NUL at the end": (b"Bearer %s\x00", "malformed_credentials"),
    "line break at the end": (b"Bearer %s\n", "malformed_credentials"),
    "second line": (b"Bearer %s\r\nX: y", "malformed_credentials"),
    "not ASCII": (b"Bearer %s\xe9", "malformed_credentials"),
    "not ASCII digits": ("Bearer %s٣".encode(), "malformed_credentials"),
    "8 KB": (b"Bearer " + b"a" * 8_192, "malformed_credentials"),
    "8 KB of blanks": (b"Bearer" + b" " * 8_192 + b"%s", "malformed_credentials"),
}


@pytest.mark.parametrize("value", ACCEPTED.values(), ids=ACCEPTED)
def test_key_is_read_in_every_form(make: Callable[..., Site], value: bytes):
    """Both forms carry a key: scheme and name in any case, blanks where HTTP allows them."""
    site = make()
    key = site.issue()
    answer = site.request(key=value.replace(b"%s", key.secret.reveal().encode()))
    assert answer.status == 200
    assert site.served[0]["keybound"].key_id == key.id


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_exactly_one_credential_is_none(
    make: Callable[..., Site], value: bytes, reason: str
):
    """Whatever differs from the two forms is refused, even around a good key."""
    site = make()
    key = site.issue()
    answer = site.request(key=value.replace(b"%s", key.secret.reveal().encode()))
    assert answer.status == (400 if reason == "duplicate_credentials" else 401)
    assert site.guard.explain_denial(answer.denial).reason == reason
    assert site.served == []


def test_two_lines_are_refused_even_when_equal(make: Callable[..., Site]):
    """Nobody says which of two credentials counts, so neither does."""
    site = make()
    value = b"Bearer " + site.issue().secret.reveal().encode()
    for second in (value, b"", b"Basic dTpw"):
        headers = ((b"authorization", value), (b"authorization", second))
        answer = site.request(headers=headers)
        assert answer.status == 400
        assert answer.problem["reason"] == "duplicate_credentials"
    assert site.served == []


def test_key_elsewhere_is_no_credential(make: Callable[..., Site]):
    """A key in another header, the query, a cookie or the path is not read."""
    site = make()
    secret = site.issue().secret.reveal().encode()
    headers = (
        (b"x-api-key", secret),
        (b"cookie", b"authorization=Bearer " + secret),
        (b"proxy-authorization", b"Bearer " + secret),
        (b"x-authorization", b"Bearer " + secret),
    )
    answer = site.request(headers=headers, query_string=b"api_key=" + secret)
    assert site.guard.explain_denial(answer.denial).reason is Reason.MISSING_CREDENTIALS


def test_key_with_a_wrong_checksum_costs_no_look_up(make: Callable[..., Site]):
    """Garbage and typing errors are refused without asking the store."""
    site = make()
    secret = site.issue().secret.reveal()
    asked = site.store.asked
    for wrong in (
        secret[:-1] + "xy"[secret[-1] == "x"],
        secret.swapcase(),
        secret[:-1],
        f"{secret}0",
    ):
        answer = site.request(key=b"Bearer " + wrong.encode())
        assert site.guard.explain_denial(answer.denial).reason is Reason.MALFORMED_CREDENTIALS
    # explaining reads the store, and only that
    assert site.store.asked == asked


def test_key_of_another_environment_is_no_key(make_plain: Callable[..., Site]):
    """A test key does not open production, nor the other way round, nor does a foreign prefix."""
    live = make_plain()
    for settings in ({"environment": "test"}, {"prefix": "acme"}):
        foreign = make_plain(**settings).issue()
        answer = live.request(key=foreign)
        assert live.guard.explain_denial(answer.denial).reason is Reason.MALFORMED_CREDENTIALS


def test_only_configured_forms_are_read(make: Callable[..., Site]):
    """A form that is switched off carries no credential, and no challenge names it."""
    site = make(credentials=["rest_api_key"])
    secret = site.issue().secret.reveal().encode()
    assert site.request(key=b"rest_api_key=" + secret).status == 200
    answer = site.request(key=b"Bearer " + secret)
    assert answer.status == 401
    (challenge,) = answer.all("www-authenticate")
    assert challenge.startswith('ApiKey realm="api", param="rest_api_key"')
