"""Ids of denials: opened by the installation that sealed them, by nobody else."""

from __future__ import annotations

import pytest

from keybound.core import sealing
from keybound.core.chain import Check
from keybound.core.decision import Denied
from keybound.core.errors import InputError
from keybound.core.limits import Limits, Methods
from keybound.core.reasons import Reason
from keybound.core.sealing import NONCE_BYTES, SEALING_KEY_BYTES, Sealer

SEALER = Sealer(b"k" * SEALING_KEY_BYTES)
NONCE = b"n" * NONCE_BYTES
CHECK = Check("key_1", "key", Methods(frozenset({"GET"})))


def sealed(denied, *, at=1_767_225_600.123, nonce=NONCE):
    """Return the id of a denial."""
    return SEALER.seal(denied, at=at, nonce=nonce)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("key", [None, "key_0123456789abcdef", "k" * 24], ids=str)
def test_what_is_sealed_is_opened(reason, key):
    """Time, reason and key come back, and every id is of one length."""
    text = sealed(Denied(reason, key=key, check=CHECK))
    opened = SEALER.open(text)
    assert (opened.at, opened.reason, opened.key) == (1_767_225_600.123, reason, key)
    assert len(text) == 96
    assert text.isascii()


def test_a_reason_keeps_its_place():
    """An id names it by that, and ids of earlier versions are opened."""
    first = ("duplicate_credentials", "conflicting_credentials", "invalid_path")
    middle = (
        *("missing_credentials", "malformed_credentials", "unknown_key", "disabled", "expired"),
        *("not_yet_valid", "revoked", "rotated", "tenant_mismatch", "tenant_unresolved"),
        *("network_not_allowed", "network_unknown", "method_not_allowed", "insufficient_scope"),
        *("outside_time_window", "model_not_allowed", "model_unresolved", "limit_invalid"),
    )
    last = ("rate_limited", "quota_exceeded", "store_unavailable", "record_corrupt")
    known = (*first, *middle, *last, "credential_not_allowed")
    assert tuple(Reason)[: len(known)] == known


def test_an_id_names_the_check_that_refused_as_long_as_it_is_unchanged():
    """Another node, another clause or another dimension is another check."""
    opened = SEALER.open(sealed(Denied(Reason.METHOD_NOT_ALLOWED, key="key_1", check=CHECK)))
    assert opened.names(CHECK)
    (wider,) = Limits(methods=["GET", "POST"])
    (scopes,) = Limits(scopes=["GET"])
    assert not opened.names(Check("key_2", "key", CHECK.clause))
    assert not opened.names(Check("key_1", "key", wider))
    assert not opened.names(Check("key_1", "key", scopes))
    assert not SEALER.open(sealed(Denied(Reason.UNKNOWN_KEY))).names(CHECK)


def test_equal_denials_have_different_ids():
    """Whoever sees two ids cannot tell that they were for the same."""
    denied = Denied(Reason.REVOKED, key="key_1")
    assert sealed(denied) == sealed(denied)
    assert sealed(denied) != sealed(denied, nonce=b"m" * NONCE_BYTES)
    assert "key_1" not in sealed(denied)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _text: "",
        lambda _text: "x",
        lambda _text: "é" * 96,
        lambda text: text[:-4],
        lambda text: text + "AAAA",
        lambda text: "A" + text[1:] if text[0] != "A" else "B" + text[1:],
        lambda text: text[:48] + text[:48],
    ],
    ids=["empty", "short", "letters", "cut", "longer", "changed", "mixed"],
)
def test_an_id_that_was_changed_is_not_opened(spoil):
    """The error says what to do, and nothing of why."""
    with pytest.raises(InputError, match="denial id"):
        SEALER.open(spoil(sealed(Denied(Reason.REVOKED))))


def test_an_id_of_another_installation_is_not_opened():
    """Each has a key of its own."""
    text = Sealer(b"o" * SEALING_KEY_BYTES).seal(Denied(Reason.REVOKED), at=0.0, nonce=NONCE)
    with pytest.raises(InputError, match="not made by this installation"):
        SEALER.open(text)


def test_an_id_of_a_later_version_is_not_opened(monkeypatch):
    """A reason that nobody here knows is no other reason, and no accident."""
    with monkeypatch.context() as later:
        later.setattr(sealing, "_REASONS", (*[Reason.EXPIRED] * 200, Reason.REVOKED))
        text = sealed(Denied(Reason.REVOKED, key="key_1"))
    with pytest.raises(InputError, match="denial id"):
        SEALER.open(text)
