"""Every target over the inputs that are kept for it, and over random ones: no fuzzer is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.errors import InputError
from tests.fuzz.harness import SlowError, attempt, corpus, escaped, unescaped
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_harms_nothing(name):
    """Attacks of old, and whatever once failed, raise our own errors or nothing, and at once."""
    for data in corpus(name):
        attempt(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_random_harms_either(name):
    """Neither does any text, nor what is kept with a part of it cut, doubled or exchanged."""
    kept = corpus(name) or [b""]

    @given(st.binary() | st.text().map(str.encode) | mangled(kept))
    def law(data):
        attempt(TARGETS[name], data)

    law()


@st.composite
def mangled(draw, kept):
    """Return an input of a corpus with something done to it."""
    data = draw(st.sampled_from(kept))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, len(data)))
    between = draw(st.binary(max_size=4) | st.sampled_from(kept) | st.just(data[start:end] * 2))
    return data[:start] + between + data[end:]


@given(st.binary())
def test_a_line_of_a_corpus_is_any_input(data):
    """What a fuzzer prints can be kept as it is."""
    line = escaped(data)
    assert unescaped(line) == data
    assert line.isascii()
    assert line.isprintable()


def test_our_own_errors_are_no_failures():
    """A refusal to read is what these are for."""

    def refusing(data):
        raise InputError("data", repr(data))

    attempt(refusing, b"x")


def test_any_other_error_is_a_failure():
    """An error that is not ours reaches whoever runs the target."""
    with pytest.raises(ZeroDivisionError):
        attempt(lambda data: None if len(data) else 1 / 0, b"")


def test_what_is_slow_is_a_failure():
    """A target that always takes too long fails; one that was held up once does not."""
    with pytest.raises(SlowError):
        attempt(lambda _: sum(range(3_000_000)), b"")
    calls = iter([3_000_000, 1])
    attempt(lambda _: sum(range(next(calls))), b"")
