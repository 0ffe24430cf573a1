"""The command line. ``main`` is what the ``keybound`` command calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from keybound.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.guard import BaseGuard

_EXTRA = {"rich", "typer"}


def main(arguments: Sequence[str] | None = None, *, guard: BaseGuard | None = None) -> int:
    """Run one command and return its exit status; ``keybound --help`` lists what they mean.

    With a ``guard`` it is the command line of an application, and knows no other.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from keybound.cli.app import run
        from keybound.cli.session import APPLICATION
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        sys.stderr.write(f"error: {MissingExtraError(error.name, extra='cli')}\n")
        return 2
    token = APPLICATION.set(guard)
    try:
        return run(given)
    finally:
        APPLICATION.reset(token)
