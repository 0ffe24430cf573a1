"""Options of verbs: a misspelt one is refused, never dropped."""

from __future__ import annotations

import pytest

from keybound import InputError


@pytest.mark.parametrize(
    ("verb", "given", "wrong", "right"),
    [
        ("issue", (), "limit", "limits"),
        ("issue", (), "tennant", "tenant"),
        ("create_group", (), "metdata", "metadata"),
        ("list", (), "tenants", "tenant"),
        ("update", ("key_1",), "expires_on", "expires_in"),
        ("restrict", ("key_1", {}), "dryrun", "dry_run"),
        ("enable", ("key_1",), "waits", "wait"),
        ("disable", ("key_1",), "if_revison", "if_revision"),
        ("revoke", ("key_1",), "dry_runs", "dry_run"),
        ("explain", ("key_1", "GET", "/acme/x"), "modle", "model"),
    ],
)
def test_an_option_that_a_verb_does_not_take_is_refused_naming_the_nearest(
    guard, verb, given, wrong, right
):
    """A misspelt limit must not make a key without that limit, nor a dry run a real one."""
    needed = {"name": "x"} if verb in {"issue", "create_group"} else {}
    with pytest.raises(InputError, match=f"{wrong}: .*did you mean '{right}'"):
        getattr(guard, verb)(*given, **needed, **{wrong: True})
    assert guard.list() == guard.list(kind="group") == ()


@pytest.mark.parametrize("verb", ["issue", "create_group"])
def test_a_name_is_needed(guard, verb):
    """It is said as missing, with the fix."""
    with pytest.raises(InputError, match="name: is missing; add name="):
        getattr(guard, verb)(tenant="acme")
