"""Places: exactly one credential, wherever one may stand, and nothing of it is left behind."""

from __future__ import annotations

import time

import pytest

from keybound.core.credentials import Credential, parse_forms, read_credential
from keybound.core.places import AUTHORIZATION, Place, Places
from keybound.core.reasons import Reason
from tests.core.heads import FakeHead
from tests.core.speed import SLOW

NAMES = ("bearer", "rest_api_key", "header(X-API-Key)", "query(api_key)", "cookie(key)")
FORMS = parse_forms(NAMES)
PLACES = Places(FORMS)

HEADER = b"\0header x-api-key\0"
QUERY = b"\0query api_key\0"
COOKIE = b"\0cookie key\0"

MALFORMED = Reason.MALFORMED_CREDENTIALS
DUPLICATE = Reason.DUPLICATE_CREDENTIALS
CONFLICTING = Reason.CONFLICTING_CREDENTIALS


def head(*headers, query=b""):
    """Return the start of a request with these header lines."""
    return FakeHead(headers, query)


def cookies(*lines):
    """Return the start of a request with these lines of cookies."""
    return head(*(("cookie", line) for line in lines))


def read(found):
    """Return the token of what was found, or why it is none."""
    credential = found if isinstance(found, Reason) else read_credential(found, FORMS)
    return credential.token if isinstance(credential, Credential) else credential


@pytest.mark.parametrize(
    ("request_head", "raw"),
    [
        (head(), None),
        (head(("authorization", b" Bearer abc ")), b" Bearer abc "),
        (head(("authorization", b"")), b""),
        (head(("x-api-key", b" \tabc \t")), HEADER + b"abc"),
        (head(("x-api-key", b"")), HEADER),
        (head(query=b"a=1&api_key=abc&b"), QUERY + b"abc"),
        (head(query=b"api%5Fkey=%61b%63"), QUERY + b"abc"),
        (head(query=b"%61%70%69_key=a%3Db"), QUERY + b"a=b"),
        (head(query=b"api_key=a=b"), QUERY + b"a=b"),
        (head(query=b"api_key"), QUERY),
        (cookies(b"a=1; key=abc; b=2"), COOKIE + b"abc"),
        (cookies(b"a=1", b'key = "abc"'), COOKIE + b"abc"),
        (cookies(b"key="), COOKIE),
        (cookies(b'key="'), COOKIE + b'"'),
        # what only looks like it
        (head(("proxy-authorization", b"Bearer abc"), ("x-api-keys", b"abc")), None),
        (head(("authorization ", b"Bearer abc")), None),
        (head(query=b"API_KEY=abc&a=api_key=abc&api_keys=abc&%61pi%_key=abc"), None),
        (head(query=b"a=1;api_key=abc&api%255Fkey=abc&api%26api_key=abc&+api_key=abc"), None),
        (head(query=b"a%26api_key=abc&api_key%3Dabc=x&&="), None),
        (cookies(b"Key=abc; keys=abc; a=key=abc", b"key", b";;", b"\xa0key=abc"), None),
    ],
    ids=str,
)
def test_one_value_is_found_wherever_it_stands(request_head, raw):
    """Raw as it came, decoded where its place encodes, and tagged with its place."""
    assert PLACES.find(request_head) == raw


@pytest.mark.parametrize(
    ("request_head", "result"),
    [
        (head(("authorization", b"Bearer abc")), "abc"),
        (head(("x-api-key", b"abc")), "abc"),
        (head(query=b"api_key=abc"), "abc"),
        (head(query=b"api_key=a%2Bb"), "a+b"),
        (cookies(b'key="abc"'), "abc"),
        # nothing is trimmed into shape
        *((head(("x-api-key", value)), MALFORMED) for value in (b"", b"a b", b'"abc"', b"a\0")),
        (head(("x-api-key", b"Bearer abc")), MALFORMED),
        (head(("x_api_key", b"abc")), MALFORMED),  # another name, but not to everybody
        *(
            (head(query=b"api_key=" + value), MALFORMED)
            for value in (b"", b"a+b", b"+abc", b"abc%20", b"a%", b"%2", b"%zz", b"%E9", b"\xe9")
        ),
        *((head(query=b"api_key=" + value), MALFORMED) for value in (b"a;b=1", b"a%2561", b"a,b")),
        *((cookies(b"key=" + value), MALFORMED) for value in (b"", b'" abc"', b'"abc', b"a b")),
        *((cookies(b"key=" + value), MALFORMED) for value in (b'""', b"%61bc", b"\xe9", b"a,b=1")),
        # no value of one place is taken for one of another
        (head(("authorization", HEADER + b"abc")), MALFORMED),
        (head(("authorization", b"\0")), MALFORMED),
        (head(("x-api-key", QUERY + b"abc")), MALFORMED),
        (head(query=b"api_key=%00header%20x-api-key%00abc"), MALFORMED),
    ],
    ids=str,
)
def test_what_is_found_is_one_whole_key_or_malformed(request_head, result):
    """A value is decoded once, and then it is a key or it is none."""
    assert read(PLACES.find(request_head)) == result


@pytest.mark.parametrize(
    "request_head",
    [
        head(("authorization", b"Bearer abc"), ("authorization", b"Bearer abc")),
        head(("authorization", b"Bearer abc"), ("authorization", b"")),
        head(*(("authorization", b"Bearer abc"),) * 1_000),
        head(("x-api-key", b"abc"), ("x-api-key", b"abc")),
        head(("x-api-key", b"abc"), ("x-api-key", b"")),
        head(("x-api-key", b"abc"), ("x_api_key", b"abc")),
        head(("x_api_key", b"abc"), ("x-api_key", b"abc")),
        head(("x-api-key", b"abc,abc")),
        head(("x-api-key", b"abc,")),
        head(query=b"api_key=abc&api_key=abc"),
        head(query=b"api_key=abc&a=1&api%5fkey"),
        cookies(b"key=abc; key=abc"),
        cookies(b"key=abc", b"key="),
        cookies(b"key=abc; a=1", b"b=2; key=abc"),
    ],
    ids=str,
)
def test_two_in_one_place_are_refused(request_head):
    """Even equal and even empty ones, also where a server made one line of them."""
    assert PLACES.find(request_head) is DUPLICATE
    assert read(PLACES.find(request_head.joined())) in {DUPLICATE, MALFORMED}


def test_cookie_behind_a_comma_counts():
    """Whether a server joined two lines or a value has a comma, nobody can tell: it is no key."""
    assert PLACES.find(cookies(b"a=1,key=abc")) == COOKIE + b",key=abc"
    assert read(PLACES.find(cookies(b"a=1,key=abc"))) is MALFORMED
    assert PLACES.find(cookies(b"key=abc; a=1,key=def")) is DUPLICATE
    assert PLACES.find(cookies(b"a=1,2; key=abc; b=,")) == COOKIE + b"abc"


VALUES = {
    "authorization": (("authorization", b"Bearer abc"),),
    "another scheme": (("authorization", b"Basic dTpw"),),
    "empty authorization": (("authorization", b""),),
    "header": (("x-api-key", b"abc"),),
    "empty header": (("x-api-key", b""),),
    "two headers": (("x-api-key", b"abc"), ("x-api-key", b"abc")),
    "underscored header": (("x_api_key", b"abc"),),
    "cookie": (("cookie", b"key=abc"),),
    "empty cookie": (("cookie", b"key="),),
}
QUERIES = {"nothing": b"", "query": b"api_key=abc", "empty query": b"api_key="}
TWO_PLACES = [
    (one, other, query)
    for query in QUERIES
    for one in VALUES
    for other in VALUES
    if one.split()[-1] < other.split()[-1] or (one == other and query != "nothing")
]


@pytest.mark.parametrize(
    ("one", "other", "query"),
    [each for each in TWO_PLACES if {*each[:2]} != {"authorization", "another scheme"}],
)
def test_two_places_are_refused(one, other, query):
    """Whatever stands there, and even if it is empty: nobody says which of them counts."""
    lines = VALUES[one] + (VALUES[other] if other != one else ())
    found = PLACES.find(FakeHead(lines, QUERIES[query]))
    assert found in {CONFLICTING, DUPLICATE}


def test_a_place_that_is_not_configured_is_not_looked_at():
    """A header that means something to others is left to them."""
    everywhere = FakeHead(
        (("authorization", b"Basic dTpw"), ("x-api-key", b"abc"), ("cookie", b"key=abc")),
        b"api_key=abc",
    )
    found = {name: Places(parse_forms([name])).find(everywhere) for name in NAMES}
    assert found == {
        "bearer": b"Basic dTpw",
        "rest_api_key": b"Basic dTpw",
        "header(X-API-Key)": HEADER + b"abc",
        "query(api_key)": QUERY + b"abc",
        "cookie(key)": COOKIE + b"abc",
    }


def test_answers_depend_on_the_headers_that_are_read():
    """Each is named once; what the URL holds is no header."""
    assert PLACES.varies == ("Authorization", "X-API-Key", "Cookie")
    assert Places(parse_forms(["cookie(a)", "cookie(b)", "query(c)"])).varies == ("Cookie",)
    assert Places(parse_forms(["query(a)"])).varies == ()


def test_only_authorization_is_plain():
    """A shell that need not look elsewhere is told so."""
    assert Places(parse_forms(["bearer", "basic(password)"])).plain
    assert not PLACES.plain
    assert not Places(parse_forms(["header(X-API-Key)"])).plain


def test_where_a_value_came_from_can_be_told():
    """The place of an accepted value is the one that it was found in."""
    for request_head, place in (
        (head(("authorization", b"Bearer abc")), AUTHORIZATION),
        (head(("x-api-key", b"abc")), Place.of("header", "X-API-Key")),
        (head(query=b"api_key=abc"), Place.of("query", "api_key")),
        (cookies(b"key=abc"), Place.of("cookie", "key")),
    ):
        found = PLACES.find(request_head)
        assert isinstance(found, bytes)
        assert PLACES.place_of(found) == place


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (COOKIE + b"abc", True),
        (b"Basic dTpw", True),
        (b" \tnegotiate YII=", True),
        (b"NTLM", True),
        (b"Digest username=x", True),
        (b"Basics dTpw", False),
        (b"Bearer abc", False),
        (b"", False),
        (HEADER + b"Basic dTpw", False),
        (QUERY + b"abc", False),
        (DUPLICATE, False),
        (None, False),
    ],
    ids=repr,
)
def test_browsers_keep_cookies_and_what_they_ask_people_for(raw, kept):
    """What is no one value is kept by none: there is nothing that it could send again."""
    assert PLACES.is_kept_by_browsers(raw) is kept


def test_forms_that_browsers_keep_are_known_beforehand():
    """A site without them need not ask for each request."""
    forms = {"bearer": False, "header(X-API-Key)": False, "query(api_key)": False}
    forms |= {"cookie(key)": True, "basic(password)": True}
    assert {name: Places(parse_forms([name])).kept_by_browsers for name in forms} == forms
    assert PLACES.kept_by_browsers


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"a=1&b=%61&&c;d", b"a=1&b=%61&&c;d"),
        (b"api_key=abc", b""),
        (b"api_key=abc&a=1", b"a=1"),
        (b"a=1&&api%5fkey=abc&b=+%zz&", b"a=1&&b=+%zz&"),
        (b"api_key&api_key=abc&xapi_key=1", b"xapi_key=1"),
    ],
)
def test_query_is_handed_on_without_the_key(query, left):
    """All else stays as it was, byte for byte."""
    assert PLACES.without_query(query) == left
    assert Places(parse_forms(["bearer"])).without_query(query) == query


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([], []),
        ([b"", b"a=1;b ;; keys=x"], [b"", b"a=1;b ;; keys=x"]),
        ([b"key=abc"], []),
        ([b'key = "abc" ; a=1'], [b"a=1"]),
        ([b"a=1; key=abc; b=2", b"c=3"], [b"a=1; b=2", b"c=3"]),
        ([b"a=1; key=abc"], [b"a=1"]),
        ([b"a=1,key=abc"], [b"a=1"]),
        ([b"a=1, key=abc, b=2,c; d=3"], [b"a=1, b=2,c; d=3"]),
        ([b"a=1, keys=abc; b"], [b"a=1, keys=abc; b"]),
    ],
)
def test_cookies_are_handed_on_without_the_key(lines, left):
    """All else stays as it was, and a line of which nothing is left is gone."""
    assert PLACES.without_cookie(lines) == left
    assert Places(parse_forms(["bearer"])).without_cookie(lines) == lines


def test_every_cookie_that_carries_a_key_is_gone():
    """However long its name is beside the others', and behind a comma as well."""
    places = Places(parse_forms(["cookie(k)", "cookie(api_key)"]))
    line = b"k=abc; a=1,k=x,api_key=abc,b=2; kk; k; api_key=abc; c=3,k=; api_keys=1"
    assert places.without_cookie([line]) == [b"a=1,b=2; kk; k; c=3; api_keys=1"]


@pytest.mark.parametrize("query", [b"&%" * 32_000, b"&%%%%%%%" * 8_000, b"&" * 65_000])
@pytest.mark.parametrize("cookie", [b";" * 65_000 + b"api_key=x", b"api_key;" * 8_000])
def test_many_parts_that_are_no_key_take_next_to_no_time(query: bytes, cookie: bytes):
    """Whoever has no key may send them."""
    places = Places(parse_forms(["query(api_key)", "cookie(api_key)"]))
    asked = head(("cookie", cookie), query=query)

    def took() -> float:
        begun = time.process_time()
        places.find(asked)
        places.without_query(query)
        places.without_cookie([cookie])
        return time.process_time() - begun

    assert min(took() for _ in range(3)) < 0.03 * SLOW


def test_headers_are_handed_on_without_the_key():
    """Nor with what is one to whoever takes an underscore for a hyphen."""
    kept = [(b"x-api-keys", b"abc"), (b"a_b", b"abc")]
    keys = [(b"authorization", b"abc"), (b"x-api-key", b"abc"), (b"x_api-key", b"abc")]
    assert PLACES.without_headers([*keys, *kept]) == kept
