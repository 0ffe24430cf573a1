"""Credentials: one whole value is read, everything else is refused by its reason."""

from __future__ import annotations

import pytest

from keybound.core.credentials import (
    CREDENTIAL_MAX,
    FORMS,
    Credential,
    Param,
    parse_forms,
    read_credential,
)
from keybound.core.errors import SettingsError
from keybound.core.reasons import Reason

ALL = tuple(FORMS.values())


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"Bearer abc", b"Bearer abc"),
        (b"bEaReR   abc", b"Bearer abc"),
        (b" \tBearer a.b_c~d+e/f-g==\t", b"Bearer a.b_c~d+e/f-g=="),
        (b"rest_api_key=abc", b"rest_api_key=abc"),
        (b"REST_API_KEY \t=\t abc", b"rest_api_key=abc"),
    ],
)
def test_every_spelling_of_a_credential_has_one_canonical_form(raw, canonical):
    """What is remembered under the canonical form is found for all spellings."""
    found = read_credential(raw, ALL)
    assert isinstance(found, Credential)
    assert found.canonical == canonical
    assert found.token in canonical.decode()


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b" ", b"Bearer", b"Bearer ", b"Bearer\tabc", b"Bearerabc", b"abc", b"Basic abc"),
        *(b"Bearer a b", b"Bearer \xc3\xa9", b"Bearer abc\x00", b"Bearer a\xa0"),
        *(b"\xa0Bearer abc", b"Bearer abc\n", b'rest_api_key="abc"', b"rest_api_key=", b"=abc"),
        *(b"rest_api_key", b"api_key=abc", b"rest_api_key=a;b", b"Bearer =", b"Bearer a=b"),
        b'Digest a="x", b="y"',
        b"Bearer " + b"a" * CREDENTIAL_MAX,
    ],
)
def test_what_is_not_one_whole_credential_is_malformed(raw):
    """Nothing is trimmed into shape, and another scheme is no second credential of ours."""
    assert read_credential(raw, ALL) is Reason.MALFORMED_CREDENTIALS


@pytest.mark.parametrize(
    "raw",
    [
        b"Bearer a,",
        b"Bearer a,Bearer b",
        b"Bearer a, Bearer a",
        b"Bearer a, rest_api_key=b",
        b'Bearer a, Digest x="y"',
        b"Basic x ,\tBearer a",
    ],
)
def test_two_lines_that_a_server_joined_are_duplicates(raw):
    """A request with two credentials is never decided on one of them."""
    assert read_credential(raw, ALL) is Reason.DUPLICATE_CREDENTIALS


def test_no_header_is_a_missing_credential():
    """Nothing sent differs from something unreadable sent."""
    assert read_credential(None, ALL) is Reason.MISSING_CREDENTIALS


def test_the_longest_value_is_read_and_one_more_is_not():
    """The bound is on the raw value."""
    longest = b"Bearer ".ljust(CREDENTIAL_MAX, b"a")
    assert isinstance(read_credential(longest, ALL), Credential)
    assert read_credential(longest + b" ", ALL) is Reason.MALFORMED_CREDENTIALS


def test_a_form_that_is_not_configured_is_not_read():
    """Each site reads what it chose."""
    (bearer,) = parse_forms(["bearer"])
    assert read_credential(b"rest_api_key=abc", [bearer]) is Reason.MALFORMED_CREDENTIALS


def test_a_credential_prints_nothing_of_the_key():
    """Neither a log line nor a traceback holds the token."""
    credential = read_credential(b"Bearer abc", ALL)
    assert repr(credential) == str(credential) == f"{credential}" == "Credential(...)"
    assert credential.__rich_repr__() == []


def test_each_form_asks_for_itself():
    """Challenges name the realm, and the parameter where that is what is asked for."""
    assert [form.challenge("api") for form in ALL] == [
        'Bearer realm="api"',
        'ApiKey realm="api", param="rest_api_key"',
    ]


def test_what_a_form_writes_it_reads():
    """Writing and reading are each other's inverse, for any parameter."""
    for form in (*ALL, Param(name="token")):
        assert form.read(form.write("a.b-c=").decode()) == "a.b-c="


def test_forms_are_chosen_by_name_in_order():
    """Each counts once; unknown names and none at all are errors of the setting."""
    names = [form.name for form in parse_forms(["rest_api_key", "bearer", "rest_api_key"])]
    assert names == ["rest_api_key", "bearer"]
    with pytest.raises(SettingsError, match="did you mean 'bearer'"):
        parse_forms(["baerer"])
    with pytest.raises(SettingsError, match="no form at all"):
        parse_forms([])
