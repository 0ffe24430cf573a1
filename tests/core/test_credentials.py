"""Credentials: one whole value is read, everything else is refused by its reason."""

from __future__ import annotations

from base64 import b64encode
from time import process_time

import pytest

from keybound.core.credentials import (
    CREDENTIAL_MAX,
    FORMS,
    Credential,
    challenges,
    parse_forms,
    read_credential,
)
from keybound.core.errors import SettingsError
from keybound.core.reasons import Reason
from tests.core.speed import SLOW

ALL = tuple(FORMS.values())


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"Bearer abc", b"Bearer abc"),
        (b"bEaReR   abc", b"Bearer abc"),
        (b" \tBearer a.b_c~d+e/f-g==\t", b"Bearer a.b_c~d+e/f-g=="),
        (b"rest_api_key=abc", b"rest_api_key=abc"),
        (b"REST_API_KEY \t=\t abc", b"rest_api_key=abc"),
        (b'rest_api_key="abc="', b"rest_api_key=abc="),
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
        *(b"\xa0Bearer abc", b"Bearer abc\n", b'rest_api_key="abc', b"rest_api_key=", b"=abc"),
        *(b'rest_api_key=""', b'rest_api_key="abc" "', b'rest_api_key=" abc"', b'Bearer "abc"'),
        *(b"rest_api_key==abc", b"xrest_api_key=abc", b"rest_api_key=abc&x=1", b"Bearer kb%5Fa"),
        *(b"\0", b"\0header x-api-key\0abc", b"\0\0Bearer abc"),
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


SPELLINGS = {
    "scheme(Token)": [(b"Token abc=", b"Token abc="), (b"tOKEN  abc=", b"Token abc=")],
    "scheme(Bearer)": [(b"bearer abc=", b"Bearer abc=")],
    "scheme_param(Token, token)": [
        (b"Token token=abc=", b"Token token=abc="),
        (b'TOKEN  Token \t= "abc="', b"Token token=abc="),
    ],
    "param(Key)": [(b"KEY=abc=", b"key=abc="), (b'key = "abc="', b"key=abc=")],
    "bare": [(b"abc=", b"abc="), (b" abc=\t", b"abc=")],
    "basic(username)": [
        (b"Basic " + b64encode(b"abc=:"), b"Basic YWJjPTo="),
        (b"bASIC  " + b64encode(b"abc=:any thing:at all"), b"Basic YWJjPTo="),
    ],
    "basic(password)": [
        (b"Basic " + b64encode(b":abc="), b"Basic OmFiYz0="),
        (b"Basic " + b64encode(b"whoever:abc="), b"Basic OmFiYz0="),
    ],
    "header(X-API-Key)": [(b"\0header x-api-key\0abc=",) * 2],
    "query(api_key)": [(b"\0query api_key\0abc=",) * 2],
    "cookie(key)": [(b"\0cookie key\0abc=",) * 2],
}

OTHERS = {
    "scheme(Token)": [b"Token", b"Tokenabc", b"Token\tabc", b"Bearer abc", b"Token token=abc"],
    "scheme_param(Token, token)": [
        *(b"Token abc", b"Token token=", b'Token token=""', b"Token key=abc", b"Bearer token=abc"),
        *(b'Token token="abc" x', b"Tokentoken=abc"),
    ],
    "param(Key)": [b"key", b"key:abc", b"key=", b'key="abc', b"key=a b", b"keys=abc"],
    "bare": [b"Bearer abc", b"a b", b'"abc"', b"=", b"a:b", b"a=b"],
    "basic(username)": [
        *(b"Basic", b"Basic abc", b"Basic YWJj", b"Basic " + b64encode(b":abc")),
        *(b"Basic " + b64encode(each) for each in (b"\xe9:", b"abc\n:", b"a b:", b"abc:\0")),
        *(b"Basic YWJjPTo", b"Basic YWJjPTp=", b"Basic YWJj-To=", b"Bearer YWJjPTo="),
    ],
    "basic(password)": [b"Basic " + b64encode(b"abc:"), b"Basic " + b64encode(b"user:a:b")],
    "header(X-API-Key)": [
        *(b"abc", b"\0query x-api-key\0abc", b"\0header x-api\0abc", b"\0header x-api-key"),
        *(b"\0header x-api-key\0" + each for each in (b"", b" abc", b"a b", b"a\0", b'"abc"')),
        b"\0header x-api-key\0" + b"a" * (CREDENTIAL_MAX + 1),
    ],
}


def rows(table):
    """Return each entry of a table with the form that it is about."""
    return [(form, each) for form, listed in table.items() for each in listed]


@pytest.mark.parametrize(("form", "spelled"), rows(SPELLINGS), ids=repr)
def test_form_reads_its_spellings_as_one(form, spelled):
    """Schemes and names have no case, quotes and blanks are no part of a key."""
    raw, canonical = spelled
    found = read_credential(raw, parse_forms([form]))
    assert isinstance(found, Credential)
    assert (found.token, found.canonical) == ("abc=", canonical)


@pytest.mark.parametrize(("form", "raw"), rows(OTHERS), ids=repr)
def test_form_reads_nothing_else(form, raw):
    """What is nearly of the form, or from another place, is malformed."""
    assert read_credential(raw, parse_forms([form])) is Reason.MALFORMED_CREDENTIALS


def test_two_lines_that_a_server_joined_are_duplicates_in_any_form_of_the_header():
    """A form of another place does not read what stands in ``Authorization``."""
    forms = parse_forms(["scheme(Token)", "basic(username)", "header(X-API-Key)"])
    for joined in (
        b"x y,Token a",
        b'Token a, nonce="x"',
        b"Token ==,Token a",
        b"Basic YWJjPTo=,Basic YWJjPTo=",
    ):
        assert read_credential(joined, forms) is Reason.DUPLICATE_CREDENTIALS
    for other in (b"a,b", b"Bearer a,Bearer b", b",,", b"\0header x-api-key\0\0,"):
        assert read_credential(other, forms) is Reason.MALFORMED_CREDENTIALS


def test_hostile_values_take_no_time():
    """Time grows with the length alone, whatever is repeated."""
    forms = parse_forms([*FORMS, "scheme_param(Token, token)", "basic(username)", "query(k)"])
    hostile = [b",", b" ", b"a", b"=", b"a,", b"a=,", b'token token="', b"Basic AAAA,", b"a =\t"]
    hostile = [(each * CREDENTIAL_MAX)[:CREDENTIAL_MAX] for each in hostile]
    hostile += [(each + b" " * CREDENTIAL_MAX)[: CREDENTIAL_MAX - 1] + b"!" for each in hostile]
    began = process_time()
    for raw in hostile:
        read_credential(raw, forms)
    assert process_time() - began < 0.001 * len(hostile) * SLOW


def test_each_form_asks_for_itself():
    """Challenges name the realm, and where a key may stand when no scheme says so."""
    chosen = [form for form in SPELLINGS if form != "basic(password)"]
    assert challenges(parse_forms(chosen), "api") == (
        'Token realm="api"',
        'Bearer realm="api"',
        'ApiKey realm="api", param="key"',
        'ApiKey realm="api"',
        'Basic realm="api", charset="UTF-8"',
        'ApiKey realm="api", header="X-API-Key"',
        'ApiKey realm="api", query="api_key"',
        'ApiKey realm="api", cookie="key"',
    )
    assert challenges(ALL, "api") == (
        'Bearer realm="api"',
        'ApiKey realm="api", param="rest_api_key"',
    )


def test_forms_are_chosen_by_name_in_order():
    """A form is called as it was chosen, and one that has a shorter name is called by that."""
    names = [form.name for form in parse_forms(["rest_api_key", "bearer"])]
    assert names == ["rest_api_key", "bearer"]
    assert [form.name for form in parse_forms(["param(rest_api_key)", "scheme(bearer)"])] == names
    chosen = [
        *("scheme(Token)", "scheme_param(Token, token)", "param(key)", "bare", "basic(password)"),
        *("header(X-API-Key)", "query(key)", "cookie(key)"),
    ]
    assert [form.name for form in parse_forms(chosen)] == chosen
    assert parse_forms(chosen) == parse_forms(chosen)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no form at all; known are bearer, rest_api_key, scheme"),
        (["baerer"], "unknown form 'baerer'; did you mean 'bearer'"),
        (["headers(X-API-Key)"], "unknown form 'headers'; did you mean 'header'"),
        (["bearer", "bearer"], "bearer is given twice; leave one out"),
        (["rest_api_key", "param(REST_API_KEY)"], "rest_api_key is given twice"),
        (["scheme(Token)", "scheme(token)"], r"scheme\(token\) cannot be told from scheme\(Token"),
        (["basic(username)", "basic(password)"], "cannot be told from"),
        (["header(X-Key)", "header(x-key)"], "cannot be told from"),
        (["query(key)", "query(KEY)"], "cannot be told from"),
        (["scheme"], r"cannot read 'scheme'; write scheme\(Token\)"),
        (["bearer(x)"], "write bearer"),
        (["scheme_param(Token)"], r"write scheme_param\(Token, token\)"),
        (["scheme(Token"], "cannot read"),
        (["scheme(Basic)"], r"write basic\(username\) or basic\(password\)"),
        (["scheme(To ken)"], "cannot be the name of a scheme or parameter"),
        (["scheme_param(Token, a=b)"], "cannot be the name of a scheme or parameter"),
        (['param(a"b)'], "cannot be the name of a scheme or parameter"),
        (["basic(user)"], "names no part"),
        (["header(Authorization)"], "is read by bearer"),
        (["header(COOKIE)"], r"write cookie\(name\)"),
        (["header(X_API_Key)"], "some servers take _ and - for the same"),
        (["header(Host)"], r"header\(Host\) is no place for a key.*; name one of your own"),
        (["header(content-length)"], "servers and proxies set that header"),
        (["header(X-Forwarded-For)"], "servers and proxies set that header"),
        (["query(a&b)"], "cannot be the name of a parameter"),
        (["cookie(a;b)"], "cannot be the name of a cookie"),
    ],
    ids=repr,
)
def test_forms_that_cannot_work_are_errors_of_the_setting(names, said):
    """Each error says what to write instead."""
    with pytest.raises(SettingsError, match=said) as caught:
        parse_forms(names)
    assert caught.value.field == "credentials"
