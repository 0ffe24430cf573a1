"""What installed packages add to keybound: dimensions of limits, found by their entry points."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from keybound.core.errors import LimitError, SettingsError
from keybound.core.limits import Clause, register

DIMENSIONS = "keybound.dimensions"
"""The group of entry points; each leads to a subclass of ``Clause``."""


def load_dimensions() -> None:
    """Register every dimension that an installed package announces; doing so again is harmless.

    They are registered in the order of their entry points' names, which is the order of checks.
    Raises ``SettingsError`` naming the entry point that cannot be used: without it, keys that are
    limited by it would be refused one by one.
    """
    for point in _announced(tuple(sys.path)):
        where = f"{DIMENSIONS}: {point.name}"
        try:
            kind: object = point.load()
        except Exception as error:
            # The text of somebody else's error may hold anything.
            problem = f"{point.value} cannot be imported ({type(error).__qualname__})"
            fix = "repair or uninstall the package that announces it"
            raise SettingsError(where, problem, fix=fix) from error
        if not (isinstance(kind, type) and issubclass(kind, Clause)):
            raise SettingsError(where, f"{point.value} is no Clause", fix="name a subclass")
        try:
            register(kind)
        except LimitError as error:
            raise SettingsError(where, str(error)) from error


@cache
def _announced(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return what is found along ``sys.path``; looking there takes milliseconds."""
    return tuple(sorted(entry_points(group=DIMENSIONS), key=lambda point: point.name))
