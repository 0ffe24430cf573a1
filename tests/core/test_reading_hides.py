"""Which credentials are not for the application: keys, wherever they came, and nothing else."""

from __future__ import annotations

import pytest

from keybound.core.clients import ClientAddress
from keybound.core.credentials import parse_forms
from keybound.core.places import Places
from keybound.core.reading import Reader
from tests.core.heads import FakeHead

FORMS = parse_forms(("bearer", "header(X-API-Key)"))
KEY = FakeHead((("authorization", b"Bearer kb_key"),))
OTHERS = [
    FakeHead(),
    FakeHead((("authorization", b"Bearer token"),)),
    FakeHead((("authorization", b"Digest kb_key"),)),
    FakeHead((("authorization", b"Bearer kb_key"), ("x-api-key", b"kb_key"))),
]


def reader(*, hides, strangers=False, client=None):
    """Return what reads requests of a site whose keys begin alike."""
    return Reader(
        Places(FORMS),
        ClientAddress.parse(client),
        None,
        exempt_preflight=False,
        needs_head=True,
        forms=FORMS,
        recognises=lambda token: token.startswith("kb_"),
        hides=hides,
        strangers=strangers,
    )


@pytest.mark.parametrize("head", [KEY, *OTHERS], ids=["key", "none", "token", "digest", "two"])
def test_nothing_is_hidden_where_that_was_not_chosen(head):
    """Whether or not it was let in."""
    for allowed in (False, True):
        assert not reader(hides=False).hides(head, allowed=allowed)


def test_who_is_let_in_has_a_key_unless_there_are_strangers():
    """Then it takes a look, as it does where no key was needed."""
    assert reader(hides=True).hides(KEY, allowed=True)
    for allowed, strangers in ((True, True), (False, False), (False, True)):
        found = reader(hides=True, strangers=strangers)
        assert found.hides(KEY, allowed=allowed)
        assert not any(found.hides(head, allowed=allowed) for head in OTHERS)


def test_headers_of_proxies_are_believed_where_a_setting_says_so():
    """So that a server which lets clients write them can be pointed out."""
    assert not reader(hides=True).believes_headers
    assert reader(hides=True, client="nginx").believes_headers
