"""Errors: what operators and callers can rely on in them."""

from __future__ import annotations

import pytest

from keybound.core import errors
from keybound.core.errors import (
    ConflictError,
    ExceedsCeilingError,
    InputError,
    KeyboundError,
    LimitError,
    MissingExtraError,
    NotFoundError,
    RecordCorruptError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
    nearest,
)


def test_everything_that_is_raised_has_one_root():
    """``except KeyboundError`` catches all of ours."""
    raised = [each for each in vars(errors).values() if isinstance(each, type)]
    assert len(raised) >= 11
    assert all(issubclass(each, KeyboundError) for each in raised)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (InputError("f", "p"), ValueError),
        (SettingsError("f", "p"), InputError),
        (LimitError("f", "p"), InputError),
        (MissingExtraError("redis", extra="redis"), ImportError),
        (StoreUnavailableError("x"), StoreError),
        (RecordCorruptError("x"), StoreError),
        (ConflictError("x"), KeyboundError),
    ],
)
def test_an_error_is_also_what_callers_would_expect(error, builtin):
    """A bad value is a ``ValueError``, a missing package an ``ImportError``."""
    assert isinstance(error, builtin)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("name", "is int", fix="write text"), "name: is int; write text"),
        (InputError("name", "is int"), "name: is int"),
        (
            MissingExtraError("typer", extra="cli"),
            "typer is not installed: pip install 'keybound[cli]'",
        ),
        (
            MissingExtraError.of(ImportError(name="typer.main"), extra="cli"),
            "typer is not installed: pip install 'keybound[cli]'",
        ),
        (
            MissingExtraError.of(ImportError("no libpq"), extra="postgres"),
            "postgres is not installed: pip install 'keybound[postgres]'",
        ),
        (
            NotFoundError("key_1"),
            "key_1: there is no such key or group; `keybound list` shows the ids",
        ),
        (
            NotFoundError("key_0123456789abcdef"),
            "key_0123456789abcdef: there is no such key or group; `keybound list` shows the ids",
        ),
        (
            NotFoundError(12 * "x"),
            "xxxxxxxxxxxx: there is no such key or group; `keybound list` shows the ids",
        ),
        (
            NotFoundError("kb_live_" + 38 * "x"),
            "kb_live_xxxx...: there is no such key or group; `keybound list` shows the ids",
        ),
        (
            ExceedsCeilingError(node="key_1", dimension="methods", allowed="GET", asked="POST"),
            (
                "methods: POST exceeds what key_1 allows (GET); "
                "ask for less, or issue the key without that parent"
            ),
        ),
    ],
)
def test_a_message_names_the_field_the_problem_and_the_fix(error, message):
    """Whoever reads it knows what to do next."""
    assert str(error) == message


def test_the_nearest_name_is_offered_and_otherwise_all_of_them():
    """A typo gets a suggestion, a wild guess the list."""
    assert nearest("modles", ["scopes", "models"]) == "did you mean 'models'?"
    assert nearest("zzz", ["scopes", "models"]) == "known are models, scopes"
