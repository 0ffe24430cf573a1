"""The command line. ``main`` is what the ``keybound`` command calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from keybound.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTRA = {"rich", "typer"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``keybound --help`` lists what they mean."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from keybound.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        sys.stderr.write(f"error: {MissingExtraError(error.name, extra='cli')}\n")
        return 2
    return run(given)
