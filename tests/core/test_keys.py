"""Keys: how they look, how they are recognised, and what is stored instead of them."""

from __future__ import annotations

import hashlib

import pytest

from keybound.core.errors import SettingsError
from keybound.core.keys import BASE62, KeyFormat, Peppers, base62, derive, pepper_id
from keybound.core.secret import Secret

ENTROPY = bytes(range(32))
KEY = KeyFormat().generate(ENTROPY).reveal()
FIRST, SECOND = Secret("first"), Secret("second")


def test_a_key_has_its_documented_shape():
    """Prefix, environment, 32 digits of chance, 6 of checksum; and it is recognised."""
    assert len(KEY) == len("kb_live_") + 38
    assert KEY.startswith("kb_live_")
    assert KeyFormat().recognises(KEY)
    assert KeyFormat().generate(ENTROPY).reveal() == KEY
    assert KeyFormat().generate(ENTROPY[::-1]).reveal() != KEY


@pytest.mark.parametrize(
    "text",
    [
        *("", "kb_live_", KEY[:-1], KEY + "0", KEY + "\n", " " + KEY, KEY.lower(), KEY.upper()),
        *(KEY.replace("live", "test"), KEY.replace("kb_", "kx_"), KEY.replace("_", "-")),
        *(KEY[:-1] + "é", KEY[:20] + "_" + KEY[21:], "kb_live_" + "0" * 38),
    ],
)
def test_what_cannot_be_a_key_is_told_without_asking_the_store(text):
    """Form, alphabet, length, environment or checksum: one is wrong."""
    assert not KeyFormat().recognises(text)


def test_any_single_typo_is_noticed():
    """The checksum covers every character, prefix and environment included."""
    for at in range(8, len(KEY)):
        other = BASE62[(BASE62.index(KEY[at]) + 1) % 62]
        assert not KeyFormat().recognises(KEY[:at] + other + KEY[at + 1 :])


def test_a_former_prefix_is_accepted_and_not_used():
    """Renaming the prefix does not end the keys that are out there."""
    renamed = KeyFormat(prefix="acme", accepted_prefixes=("kb",))
    assert renamed.recognises(KEY)
    assert renamed.generate(ENTROPY).reveal().startswith("acme_live_")
    assert not KeyFormat(prefix="acme").recognises(KEY)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"prefix": ""}, "prefix"),
        ({"prefix": "Kb"}, "prefix"),
        ({"prefix": "k_b"}, "prefix"),
        ({"prefix": "k" * 17}, "prefix"),
        ({"prefix": "kb\n"}, "prefix"),
        ({"environment": "1st"}, "environment"),
        ({"environment": "a|b"}, "environment"),
        ({"accepted_prefixes": ("kb", ".*")}, "accepted_prefixes"),
    ],
    ids=repr,
)
def test_a_format_that_could_be_misread_is_refused(given, field):
    """Parts are plain words, so that nothing in them is a pattern."""
    with pytest.raises(SettingsError) as caught:
        KeyFormat(**given)
    assert caught.value.field == field


def test_a_hint_shows_four_characters():
    """Enough to tell keys apart, nowhere near enough to guess one."""
    assert KeyFormat().hint(Secret(KEY)) == KEY[:12]


def test_digits_are_even():
    """A number is written in base 62, lowest digit first, padded to its length."""
    assert base62((61).to_bytes(32, "big"), 4) == "z000"
    assert base62((62).to_bytes(32, "big"), 4) == "0100"
    assert len(set(BASE62)) == 62


def test_keys_are_stored_under_the_current_secret_and_found_under_all():
    """Current, retired, then unpeppered: rotation and a late secret end no key."""
    plain = hashlib.sha256(KEY.encode()).digest()
    both = Peppers(SECOND, [FIRST])
    old, new = Peppers(FIRST).digest(KEY), Peppers(SECOND).digest(KEY)
    assert both.candidates(KEY) == (new, old, plain)
    assert both.digest(KEY) == new
    assert len({old, new, plain}) == 3
    assert Peppers(None).digest(KEY) == plain
    assert Peppers(None, [FIRST]).candidates(KEY) == (old, plain)


def test_a_fingerprint_names_a_secret_and_tells_nothing_of_it():
    """It is derived for that purpose alone."""
    assert Peppers(SECOND, [FIRST]).fingerprints() == [pepper_id(SECOND), pepper_id(FIRST)]
    assert Peppers(None).fingerprints() == []
    assert len(pepper_id(FIRST)) == 16
    assert derive(FIRST, b"pepper") != derive(FIRST, b"seal") != derive(SECOND, b"seal")
    assert pepper_id(FIRST) not in derive(FIRST, b"pepper").hex()
