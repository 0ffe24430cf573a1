"""Laws of credentials, over every form, arbitrary values and arbitrary requests."""

from __future__ import annotations

from base64 import b64decode, b64encode
from urllib.parse import quote_from_bytes, unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from keybound.core.credentials import Credential, parse_forms, read_credential
from keybound.core.places import Places
from keybound.core.reasons import Reason
from tests.core.heads import FakeHead

IN_AUTHORIZATION = (
    *("bearer", "rest_api_key", "scheme(Token)", "scheme_param(Token, token)", "param(key)"),
    *("bare", "basic(username)"),
)
ELSEWHERE = ("header(X-API-Key)", "query(api_key)", "cookie(key)")
FORMS = parse_forms([*IN_AUTHORIZATION, *ELSEWHERE, "header(Private-Token)", "query(key)"])
EVERY = (*FORMS, *parse_forms(["basic(password)"]))
PLACES = Places(FORMS)

TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]{1,60}={0,2}", fullmatch=True)
PIECES = st.sampled_from(
    [
        *(
            "Bearer",
            "bearer",
            "Token",
            "token",
            "Basic",
            "rest_api_key",
            "key",
            "=",
            "==",
            '"',
            ",",
        ),
        *(
            " ",
            "\t",
            ":",
            "abc",
            "a",
            "YWJjOg==",
            "OmFiYw==",
            "\0",
            "\r\n",
            "\xa0",
            "\u212a",
            "\u0130",
        ),
    ]
)
VALUES = st.text() | st.lists(PIECES, max_size=8).map("".join)
RAW = VALUES.map(lambda text: text.encode("latin-1", "ignore")) | st.binary()
TAGGED = st.builds(lambda form, raw: form.place.tag + raw, st.sampled_from(EVERY), RAW)


@given(st.sampled_from(EVERY), TOKENS)
def test_what_a_form_writes_it_reads(form, token):
    """Writing and reading are each other's inverse, and a prefix is what it says."""
    written = form.write(token)
    found = read_credential(written, [form])
    assert isinstance(found, Credential)
    assert (found.token, found.canonical) == (token, written)
    assert form.prefix is None or written == form.prefix + token.encode()


@given(st.sampled_from(EVERY), VALUES)
@example(FORMS[0], "bearer abc")
@example(EVERY[-1], "bASIC  eDphYmM=")
def test_a_form_reads_nothing_that_is_not_there(form, value):
    """Whatever the text, no error comes of it, and the token is a part of it, or of the pair."""
    token = form.read(value)
    if token is not None:
        encoded = form.name.startswith("basic")
        assert token
        assert token in (b64decode(value.split()[1]).decode() if encoded else value)


@given(RAW | TAGGED)
def test_at_most_one_form_reads_a_value(raw):
    """In whatever order forms are configured, a value is read alike."""
    results = [read_credential(raw, [form]) for form in FORMS]
    credentials = [each for each in results if isinstance(each, Credential)]
    assert len(credentials) <= 1
    together = read_credential(raw, FORMS)
    assert together == read_credential(raw, FORMS[::-1])
    if credentials:
        assert together == credentials[0]
        again = read_credential(credentials[0].canonical, FORMS)
        assert again == credentials[0]


@given(st.lists(RAW, min_size=1, max_size=3), TOKENS)
def test_a_list_of_values_is_no_credential(others, token):
    """A comma never makes a key of what is none by itself, nor of one of several."""
    joined = b",".join([b"Bearer " + token.encode(), *others])
    assert isinstance(read_credential(joined, FORMS), Reason)
    assert isinstance(read_credential(b",".join([*others, b"Basic eA=="]), FORMS), Reason)


# ---------------------------------------------------------------------------------- whole requests

NAMES = st.sampled_from(["x-api-keys", "proxy-authorization", "host", "x-forwarded-for"])
WORDS = st.text("ab=%\"'[] +", max_size=5).map(str.encode)
OTHER_HEADERS = st.lists(st.tuples(NAMES, RAW), max_size=3)
OTHER_PARAMETERS = st.lists(st.builds(lambda word: b"x" + word, WORDS), max_size=3)
OTHER_COOKIES = OTHER_PARAMETERS


@st.composite
def credentials(draw):
    """Return header lines, parameters and cookies, each of which is a credential or nearly one."""
    value = draw(TOKENS.map(str.encode) | RAW)
    headers: list[tuple[str, bytes]] = []
    parameters: list[bytes] = []
    cookies: list[bytes] = []
    match draw(st.sampled_from(["authorization", "x-api-key", "private-token", "query", "cookie"])):
        case "query":
            name = draw(st.sampled_from([b"api_key", b"api%5fkey", b"key", b"%6bey"]))
            encoded = value if draw(st.booleans()) else quote_from_bytes(value).encode()
            parameters.append(name + b"=" + encoded.replace(b"&", b"%26"))
        case "cookie":
            written = draw(st.sampled_from([b"key=%s", b'key="%s"', b" key = %s "]))
            cookies.append(written % value.replace(b";", b""))
        case "authorization":
            values = [b"Bearer " + value, b"Token token=" + value, b"Basic " + b64encode(value)]
            headers.append(("authorization", draw(st.sampled_from([*values, value]))))
        case name:
            headers.append((name, value))
    return headers, parameters, cookies


def request(headers, parameters, cookies):
    """Return the start of a request with these parts."""
    lines = [*headers, *([("cookie", b";".join(cookies))] if cookies else [])]
    return FakeHead(tuple(lines), b"&".join(parameters))


def read(head):
    """Return the credential of a request, or why there is none."""
    found = PLACES.find(head)
    return found if isinstance(found, Reason) else read_credential(found, FORMS)


@given(credentials(), OTHER_HEADERS, OTHER_PARAMETERS, OTHER_COOKIES, st.randoms())
def test_what_is_unrelated_changes_nothing(credential, headers, parameters, cookies, random):
    """Other headers, parameters and cookies, in any order, before it and behind it."""
    alone = read(request(*credential))
    together = [
        [*parts, *others]
        for parts, others in zip(credential, (headers, parameters, cookies), strict=True)
    ]
    for parts in together:
        random.shuffle(parts)
    assert read(request(*together)) == alone


@given(credentials(), credentials(), st.booleans())
def test_a_second_credential_never_helps(first, second, joined):
    """Two are refused, whatever each of them is, and however a server hands them on."""
    both = request(*([*one, *other] for one, other in zip(first, second, strict=True)))
    assert isinstance(read(both.joined() if joined else both), Reason)


@given(credentials())
def test_servers_agree_on_one_credential(credential):
    """Where nothing is joined, nothing differs."""
    head = request(*credential)
    assert read(head) == read(head.joined())


@given(credentials(), OTHER_PARAMETERS, OTHER_COOKIES)
def test_what_is_handed_on_holds_no_key(credential, parameters, cookies):
    """Nothing is found in it any more, and nothing else is missing."""
    _, ours, our_cookies = credential
    query = PLACES.without_query(b"&".join([*parameters, *ours]))
    assert query == b"&".join(parameters)
    lines = [b";".join([*cookies, *our_cookies])] if cookies or our_cookies else []
    assert PLACES.without_cookie(lines) == ([b";".join(cookies)] if cookies else [])


@given(st.lists(st.text("api_key%5fK=&+; ", max_size=12).map(str.encode), max_size=4))
def test_a_parameter_is_taken_out_if_and_only_if_it_is_one(parts):
    """Any query string: what is left is what an application does not read as the key."""
    query = b"&".join(parts)
    left = PLACES.without_query(query)
    names = [unquote_to_bytes(part.partition(b"=")[0]) for part in left.split(b"&")]
    assert not {b"api_key", b"key"} & set(names)
    assert PLACES.find(FakeHead((), left)) is None
    assert (left == query) is (PLACES.find(FakeHead((), query)) is None)
