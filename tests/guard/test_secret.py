"""Secrets: peppers that rotate, and a store that knows which secret it is used with."""

from __future__ import annotations

import logging
import sqlite3

import pytest

from keybound import Guard, Reason, SettingsError
from keybound.core.decision import Allowed

FIRST = "first-secret-of-the-tests-0123456789"
SECOND = "second-secret-of-the-tests-987654321"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a guard on one store, as another process would."""
    guards = []

    def start_guard(**settings):
        guards.append(Guard.from_settings(database=str(tmp_path / "keys.db"), **settings))
        return guards[-1]

    yield start_guard
    for guard in guards:
        guard.close()


def ask(guard, issued):
    """Return the decision on a request with an issued key."""
    return guard.authorize("GET", "/", None, b"Bearer " + issued.secret.reveal().encode())


def test_keys_outlive_the_rotation_of_the_secret(start):
    """A key issued under a secret works as long as that secret is retired, not forgotten."""
    old = start(secret=FIRST).issue(name="old")
    rotated = start(secret=SECOND, retired_secrets=[FIRST])
    new = rotated.issue(name="new")
    assert isinstance(ask(rotated, old), Allowed)
    assert isinstance(ask(rotated, new), Allowed)
    forgotten = start(secret=SECOND)
    assert ask(forgotten, old).reason is Reason.UNKNOWN_KEY
    assert isinstance(ask(forgotten, new), Allowed)


def test_a_store_is_not_used_with_another_secret(start):
    """Starting with a wrong secret, or none, is an error that says what to do."""
    start(secret=FIRST).open()
    for wrong in ({"secret": SECOND}, {}):
        with pytest.raises(SettingsError, match="retired_secrets"):
            start(**wrong).open()


def test_a_secret_can_be_set_later(start):
    """Keys issued without a secret go on working when one is set."""
    plain = start().issue(name="plain")
    assert isinstance(ask(start(secret=FIRST), plain), Allowed)


def test_a_request_is_answered_503_while_the_secret_is_wrong(start):
    """A wrong secret is no reason to call a good key bad, nor to let anything through."""
    issued = start(secret=FIRST).issue(name="good")
    assert ask(start(secret=SECOND), issued).reason is Reason.STORE_UNAVAILABLE


def test_a_stolen_database_does_not_help_to_test_keys(start, tmp_path):
    """With a secret, neither the key nor its plain digest is in the file."""
    import hashlib

    guard = start(secret=FIRST)
    key = guard.issue(name="CI").secret.reveal()
    guard.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert key.encode() not in content
    assert key[12:].encode() not in content
    assert hashlib.sha256(key.encode()).digest() not in content
    rows = sqlite3.connect(tmp_path / "keys.db")
    assert FIRST not in str(list(rows.iterdump()))
    rows.close()


def test_without_a_secret_there_is_a_warning_that_says_how_to_set_one(start, caplog, tmp_path):
    """The embedded default says where the keys are, and what to do before real use."""
    with caplog.at_level(logging.WARNING, logger="keybound"):
        start().open()
    assert str(tmp_path / "keys.db") in caplog.text
    assert "KEYBOUND_SECRET" in caplog.text
    assert "token_urlsafe" in caplog.text


def test_denial_ids_open_under_a_retired_secret_and_without_any(start):
    """The id of a refusal is opened by every process of the installation, later ones too."""
    for settings, later in (
        ({}, {}),
        ({"secret": FIRST}, {"secret": SECOND, "retired_secrets": [FIRST]}),
    ):
        guard = start(**settings)
        issued = guard.issue(name="CI")
        guard.revoke(issued.id)
        denial = dict(guard.refuse(ask(guard, issued)).headers)["keybound-denial"]
        assert start(**later).explain_denial(denial).reason is Reason.REVOKED
