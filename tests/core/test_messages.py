"""Messages: read if this installation made them, whole, and as this version writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.messages import MESSAGE_MAX, Message, Messages
from keybound.core.secret import Secret

MESSAGES = Messages(Secret("a-secret-of-the-tests-0123456789-abcdef"))
OTHERS = Messages(Secret("another-secret-of-the-tests-0123456789"))
MESSAGE = Message(b"e" * 16, ("key_1", "d:00ff"), 2**63 - 1, 1_700_000_000.25)
PAYLOAD = MESSAGES.encode(MESSAGE)


def signed(body):
    """Return a message of ours with any body."""
    return MESSAGES._mac(body) + body  # noqa: SLF001 - as another version of ours would write it


def test_a_message_is_read_as_it_was_written():
    """Epoch, nodes, revision and time."""
    assert MESSAGES.decode(PAYLOAD) == MESSAGE
    small = Message(b"", ("k",), 0, 0.0)
    assert MESSAGES.decode(MESSAGES.encode(small)) == small


def test_a_message_is_small():
    """A change of a key costs about a hundred bytes for every listener."""
    assert len(PAYLOAD) == 32 + 1 + 8 + 8 + 1 + 16 + len("key_1,d:00ff")
    longest = MESSAGES.encode(Message(b"e" * 16, ("k" * 24, "d" * 24), 1, 0.0))
    assert len(longest) == 115


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_a_message_with_any_other_byte_is_refused(place, change):
    """It cannot be turned into one about another node, revision or epoch."""
    forged = bytearray(PAYLOAD)
    forged[place] ^= change
    assert MESSAGES.decode(bytes(forged)) is None


@given(st.binary(max_size=200))
def test_anything_else_is_refused(payload):
    """Whoever can publish may say anything."""
    assert MESSAGES.decode(payload) is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, len(PAYLOAD) - 1])
def test_a_part_of_a_message_is_refused(length):
    """However much of it."""
    assert MESSAGES.decode(PAYLOAD[:length]) is None


def test_a_message_of_another_secret_is_refused_and_said_elsewhere():
    """Installations that share a server do not even hear each other."""
    assert OTHERS.decode(PAYLOAD) is None
    assert OTHERS.channel != MESSAGES.channel
    assert MESSAGES.channel.startswith(b"keybound:1:")
    assert len(MESSAGES.channel) == 43


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x02",
        b"\x02" + b"\0" * 16,
        b"\x01" + PAYLOAD[33:],
        b"\x03" + PAYLOAD[33:],
        b"\x02" + b"\0" * 17 + b"\xff",
    ],
)
def test_what_another_version_of_ours_says_is_refused(body):
    """A message of a form that is not known here means nothing here."""
    assert MESSAGES.decode(signed(body)) is None


def test_a_message_that_is_too_long_is_refused_unread():
    """Up to the bound it is read."""
    start = b"\x02" + b"\0" * 16 + b"\0"
    fits = signed(start + b"k" * (MESSAGE_MAX - 32 - len(start)))
    assert len(fits) == MESSAGE_MAX
    assert MESSAGES.decode(fits) is not None
    assert MESSAGES.decode(signed(start + b"k" * (MESSAGE_MAX - 31 - len(start)))) is None
