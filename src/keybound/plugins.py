"""What others add to keybound: dimensions of installed packages, and functions of the site."""

from __future__ import annotations

import re
import sys
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from keybound.core.errors import LimitError, SettingsError
from keybound.core.limits import Clause, register

if TYPE_CHECKING:
    from collections.abc import Callable

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


_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_FIX = "write package.module:function"


class SiteFunction:
    """A function of the site that a setting names: ``"package.module:function"``.

    It is imported at the first use, since the module that has it may be the one that makes the
    guard.
    """

    def __init__(self, setting: str, name: str) -> None:
        """Remember the name; raises ``SettingsError`` for what is none."""
        if not _NAME.fullmatch(name):
            raise SettingsError(setting, f"{name!r} names no function", fix=_FIX)
        self.setting = setting
        self.name = name

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function; raises ``SettingsError`` if it cannot be had."""
        found = self.found
        if not callable(found):
            problem = f"is {type(found).__qualname__}, no function"
            raise SettingsError(self.setting, problem, fix=_FIX)
        return found

    @cached_property
    def found(self) -> object:
        """What has that name, a function or not; raises ``SettingsError`` if it cannot be had."""
        module, _, path = self.name.partition(":")
        try:
            found: object = import_module(module)
            for attribute in path.split("."):
                found = getattr(found, attribute)
        except Exception as error:
            # The text of somebody else's error may hold anything; that a name is missing is plain.
            plain = isinstance(error, ImportError | AttributeError)
            said = str(error) if plain else type(error).__qualname__
            problem = f"{self.name!r} cannot be imported ({said})"
            fix = f"try: python -c 'import {module}'"
            raise SettingsError(self.setting, problem, fix=fix) from error
        return found

    def __call__(self, *given: Any) -> Any:  # noqa: ANN401 - the setting says what
        """Call it."""
        return self.function(*given)


def named_function(setting: str, value: object) -> object:
    """Return the function that a text names, and anything else as it is."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return SiteFunction(setting, value)
    return value


def site_function(setting: str, value: object) -> Callable[..., Any]:
    """Return a function of the site, given itself or by name; raises ``SettingsError``."""
    if isinstance(value, str):
        return SiteFunction(setting, value)
    if not callable(value):
        raise SettingsError(setting, f"is {type(value).__qualname__}, no function", fix=_FIX)
    return cast("Callable[..., Any]", value)
