"""Secrets: one door, and nothing leaves by any other."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from keybound.core.secret import Secret

TEXT = "kb_live_very_secret"


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (str, "str()"),
        (format, "format()"),
        (lambda secret: f"{secret}", "format()"),
        (lambda secret: "%s" % secret, "str()"),  # noqa: UP031 - as loggers format
        (bytes, "bytes()"),
        (pickle.dumps, "pickle or copy"),
        (copy.copy, "pickle or copy"),
        (copy.deepcopy, "pickle or copy"),
        (list, "iteration"),
        (set, "iteration"),
    ],
)
def test_using_a_secret_as_text_raises_and_does_not_print_it(use, named):
    """Whatever would put the text somewhere by accident fails, and names the one door."""
    with pytest.raises(TypeError, match="reveal") as caught:
        use(Secret(TEXT))
    assert named in str(caught.value)
    assert TEXT not in str(caught.value)


def test_a_secret_is_no_json_and_no_key_of_a_dictionary():
    """Neither serialising nor hashing finds a way in."""
    with pytest.raises(TypeError):
        json.dumps(Secret(TEXT))
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(TEXT))
    assert not hasattr(Secret(TEXT), "__dict__")


def test_every_secret_prints_the_same():
    """``repr()`` answers, so that a traceback never trips, and says nothing."""
    assert repr(Secret(TEXT)) == repr(Secret("")) == f"{Secret('x')!r}" == "Secret(...)"


def test_reveal_is_the_one_door():
    """The text comes out as it went in."""
    assert Secret(TEXT).reveal() == TEXT


def test_secrets_are_equal_when_their_texts_are():
    """Secrets compare with secrets only, beyond ASCII too."""
    assert Secret("gehëim") == Secret("gehëim")
    assert Secret(TEXT) != Secret(TEXT + "x")
    assert Secret(TEXT) != TEXT
    assert Secret(TEXT) != TEXT
