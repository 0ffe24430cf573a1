"""Threads of our own. A system may have none left for us, which is no reason to refuse anybody."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Ts = TypeVarTuple("Ts")


def begin(work: Callable[[*Ts], object], *arguments: *Ts, name: str) -> Thread | None:
    """Do this in a thread that no process waits for at its end, and return that.

    ``None`` if there is none to be had, as under a limit of the system's: whoever wants it does
    without for now, and tries again at the next occasion.
    """
    thread = Thread(target=work, args=arguments, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
