"""A second thread, as far as it matters: somebody who reads the cache between two lines of it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

_CACHE = frozenset({"local.py", "fence.py"})


@contextmanager
def reading_between(
    read: Callable[[], None], *, every: int, first: int, within: frozenset[str] = _CACHE
) -> Iterator[None]:
    """Call ``read`` before the ``first`` line that files execute, and every so many lines.

    They are those of the cache and its fence, unless others are named. Threads switch between any
    two instructions; that readers take no lock makes each of those moments one at which a decision
    may be taken.
    """
    lines = 0

    def on_line(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines % every == first % every:
                sys.settrace(None)
                read()
                sys.settrace(on_call)
        return on_line

    def on_call(frame: FrameType, _event: str, _arg: Any) -> Any:
        return on_line if Path(frame.f_code.co_filename).name in within else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)
