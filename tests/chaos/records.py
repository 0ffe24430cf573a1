"""What a client saw, request by request, as it is written to a file and read from it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYOUT = struct.Struct("<HBHIdddd")

CUT, SILENT = 0, 1
"""In place of a status: the connection ended, or nothing came for very long."""

ACCEPTED, UNDECIDED = 200, 503


class Seen(NamedTuple):
    """One request. All times are of ``CLOCK_MONOTONIC``.

    It was decided at some moment from ``began`` to ``decided``, both of which the worker noted;
    where no answer came they are when it was sent, and when it was given up.
    """

    key: int
    worker: int
    status: int
    pid: int
    sent: float
    began: float
    decided: float
    received: float


def read(path: Path) -> Iterator[Seen]:
    """Yield all of a file."""
    return map(Seen._make, LAYOUT.iter_unpack(path.read_bytes()))
