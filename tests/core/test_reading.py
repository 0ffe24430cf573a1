"""What is read of a request: nothing of the credential is in what reports and dumps show."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.pretty import pretty_repr

from keybound.core.reading import Reading
from keybound.core.told import PLAIN


def test_reading_shows_nothing_of_the_credential():
    """Neither to ``repr`` nor to whoever looks into every sequence that a frame holds."""
    reading = Reading("10.0.0.1", b"Bearer hidden", None, None)
    assert not isinstance(reading, Sequence)
    for text in (repr(reading), pretty_repr(reading), json.dumps([reading], default=str)):
        assert "hidden" not in text


def test_reading_is_unpacked_in_its_order():
    """As a decision takes it."""
    reading = Reading("10.0.0.1", b"raw", None, None)
    assert [*reading] == ["10.0.0.1", b"raw", None, None]
    assert [*reading.telling(PLAIN)] == ["10.0.0.1", b"raw", PLAIN, None]
