"""How a target is tried: nothing but our own errors, and nothing slow; and the inputs kept for it.

A corpus is a file of lines, one for each input, in the escapes of Python's bytes; ``#`` begins a
comment.
"""

from __future__ import annotations

import time
from ast import literal_eval
from pathlib import Path
from typing import TYPE_CHECKING

from keybound.core.errors import KeyboundError

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

SECONDS_MAX = 0.02
"""Seconds of a processor that one input may take."""

_TRIES = 5
_CORPUS = Path(__file__).parent / "corpus"


class SlowError(AssertionError):
    """An input takes too long, however often it is tried."""


def attempt(target: Target, data: bytes) -> None:
    """Try one input; raises what the target must not raise, and ``SlowError``."""
    seconds = _once(target, data)
    tries = 1
    while seconds > SECONDS_MAX and tries < _TRIES:  # other work on the machine is no fault of ours
        seconds = min(seconds, _once(target, data))
        tries += 1
    if seconds > SECONDS_MAX:
        msg = f"{seconds * 1_000:.0f} ms for {len(data)} bytes"
        raise SlowError(msg)


def _once(target: Target, data: bytes) -> float:
    began = time.thread_time()
    try:
        target(data)
    except KeyboundError as error:
        str(error)
    return time.thread_time() - began


def corpus(name: str) -> list[bytes]:
    """Return the inputs that are kept for a target."""
    lines = (_CORPUS / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return [unescaped(line) for line in lines if not line.startswith("#")]


def unescaped(line: str) -> bytes:
    """Return the input that a line stands for."""
    data = literal_eval(f"b'{line}'")
    assert isinstance(data, bytes)
    return data


def escaped(data: bytes) -> str:
    """Return the line that stands for an input."""
    text = repr(data)[2:-1]
    return text.replace("'", "\\'") if '"' not in text and "'" in text else text
