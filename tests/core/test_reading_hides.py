"""Which credentials are not for the application: keys, wherever they came, and nothing else."""

from __future__ import annotations

import time

import pytest

from keybound.core.carriers import PIECES_MAX
from keybound.core.clients import ClientAddress
from keybound.core.credentials import parse_forms
from keybound.core.places import Places
from keybound.core.reading import Reader
from tests.core.heads import FakeHead
from tests.core.speed import SLOW

FORMS = parse_forms(("bearer", "header(X-API-Key)", "cookie(sid)"))
KEY = FakeHead((("authorization", b"Bearer kb_key"),))
OTHERS = [
    FakeHead(),
    FakeHead((("authorization", b"Bearer token"),)),
    FakeHead((("authorization", b"Digest kb_key"),)),
]


def left(found, head, *, allowed):
    """Return the headers that the application sees."""
    lines = [(name.encode(), value) for name, value in head.headers]
    for places in found.hidden(head, allowed=allowed):
        lines = places.without_headers(lines)
    return tuple((name.decode(), value) for name, value in lines)


def begins_alike(token):
    """Return whether that is a key here."""
    return token.startswith("kb_")


def reader(*, hides, strangers=False, client=None, forms=FORMS, recognises=begins_alike):
    """Return what reads requests of a site whose keys begin alike."""
    return Reader(
        Places(forms),
        ClientAddress.parse(client),
        None,
        exempt_preflight=False,
        needs_head=True,
        forms=forms,
        recognises=recognises,
        hides=hides,
        strangers=strangers,
    )


@pytest.mark.parametrize("head", [KEY, *OTHERS], ids=["key", "none", "token", "digest"])
def test_nothing_is_hidden_where_that_was_not_chosen(head):
    """Whether or not it was let in."""
    for allowed in (False, True):
        assert left(reader(hides=False), head, allowed=allowed) == head.headers


def test_who_is_let_in_has_a_key_unless_there_are_strangers():
    """Then it takes a look, as it does where no key was needed."""
    assert left(reader(hides=True), KEY, allowed=True) == ()
    assert left(reader(hides=True), OTHERS[1], allowed=True) == ()
    for allowed, strangers in ((True, True), (False, False), (False, True)):
        found = reader(hides=True, strangers=strangers)
        assert left(found, KEY, allowed=allowed) == ()
        for head in OTHERS:
            assert left(found, head, allowed=allowed) == head.headers


BEARER, OWN = ("authorization", b"Bearer kb_key"), ("authorization", b"Basic dTpw")
HEADER, COOKIE = ("x-api-key", b"kb_key"), ("cookie", b"a=1; sid=kb_key")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ((BEARER, HEADER), ()),
        ((BEARER, HEADER, COOKIE), (("cookie", b"a=1"),)),
        ((BEARER, BEARER), ()),
        ((BEARER, OWN), ()),
        ((OWN, BEARER), ()),
        ((HEADER, ("x-api-key", b"x")), ()),
        ((("x-api-key", b"x, kb_key"), OWN), (OWN,)),
        ((OWN, HEADER), (OWN,)),
        ((OWN, ("x_api-key", b"kb_key")), (OWN,)),
        ((OWN, COOKIE), (OWN, ("cookie", b"a=1"))),
        ((OWN, ("x-api-key", b"x"), ("cookie", b"sid=x")),) * 2,
        ((("cookie", b"sid=x; sid=kb_key"), ("cookie", b"sid=x")), ()),
        ((("cookie", b'sid=x,sid = "kb_key" ,b=2'),), ()),
        ((("cookie", b"a=1,sid=kb_key,b=2; c=3"),), (("cookie", b"a=1,b=2; c=3"),)),
        ((("cookie", b"SID=kb_key; sids=kb_key; sid; sid=x"),),) * 2,
        ((("authorization", b",".join([b"Bearer kb_key"] * 100)),), ()),
        ((("authorization", b"Basic dTpw,Bearer kb_key"),), ()),
        ((("authorization", b"Basic dTpw,Bearer token"),),) * 2,
        ((("authorization", b"kb_key"), ("x-api-key", b"Bearer kb_key")),) * 2,
    ],
    ids=repr,
)
def test_every_place_that_holds_a_key_is_hidden(sent, kept):
    """However many hold one: it is those that are hidden, and what is the site's own stays."""
    found = reader(hides=True)
    assert left(found, FakeHead(sent), allowed=False) == kept
    joined = FakeHead(sent).joined()
    if not any(b"sid" in value for name, value in joined.headers if name == "cookie"):
        names = {name for name, _ in kept}
        hidden = tuple(line for line in joined.headers if line[0] in names)
        assert left(found, joined, allowed=False) == hidden


def test_key_in_the_query_alone_hides_no_header():
    """It is taken out of the query in any case."""
    forms = parse_forms(("query(kb)", "bearer"))
    found = reader(hides=True, forms=forms)
    head = FakeHead((OWN,), b"kb=kb_key")
    assert left(found, head, allowed=False) == head.headers
    assert found.hidden(FakeHead((BEARER,), b"kb=kb_key"), allowed=False)


def joined(name, pieces):
    """Return a header of so many values that are all different, and none of them a key."""
    start = "sid=x" if name == "cookie" else "Bearer x" if name == "authorization" else "x"
    return name, ",".join(f"{start}{number}" for number in range(pieces)).encode()


NAMES = ("authorization", "x-api-key", "cookie")


@pytest.mark.parametrize("name", NAMES)
def test_so_many_values_are_looked_at_and_no_more(name):
    """Whoever has no key may send very many: where they stand is hidden without a look at each."""
    asked: list[str] = []

    def recognises(token: str) -> bool:
        asked.append(token)
        return False

    found = reader(hides=True, recognises=recognises)
    most = FakeHead((joined(name, PIECES_MAX),))
    assert left(found, most, allowed=False) == most.headers
    assert len(asked) == PIECES_MAX
    asked.clear()
    for pieces in (PIECES_MAX + 1, 10_000):
        assert not any(b"x0" in value for _, value in left_of(found, name, pieces))
    assert asked == []


def left_of(found, name, pieces):
    """Return what the application sees of a header with so many values."""
    return left(found, FakeHead((joined(name, pieces),)), allowed=False)


def test_a_key_behind_all_that_is_looked_at_is_hidden():
    """What is not looked at is not shown."""
    line = ",".join(["x"] * 10_000 + ["kb_key"]).encode()
    assert left(reader(hides=True), FakeHead((("x-api-key", line),)), allowed=False) == ()


def test_joined_values_without_a_key_take_next_to_no_time():
    """Whoever has no key may send them."""
    head = FakeHead((("authorization", b"a," * 32_000), ("cookie", b"sid=x,;" * 9_000)))
    found = reader(hides=True)

    def took() -> float:
        begun = time.process_time()
        found.hidden(head, allowed=False)
        return time.process_time() - begun

    assert min(took() for _ in range(3)) < 0.03 * SLOW


def test_headers_of_proxies_are_believed_where_a_setting_says_so():
    """So that a server which lets clients write them can be pointed out."""
    assert not reader(hides=True).believes_headers
    assert reader(hides=True, client="nginx").believes_headers
