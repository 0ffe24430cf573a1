"""Where settings come from: Python, the environment, and a TOML file; the same names everywhere.

A keyword in Python is ``KEYBOUND_NAME`` in the environment and a key of ``[keybound]`` in the
file. Python wins over the environment, that over the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from keybound.core.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection

ENVIRONMENT_PREFIX = "KEYBOUND_"
SETTINGS_FILE = "keybound.toml"
FILE_VARIABLE = "KEYBOUND_SETTINGS"
"""The one variable that is no setting: it names the file."""

# Kubernetes and Docker links tell containers where a service called keybound (or keybound-x) is.
_INJECTED = re.compile(r"(?:.+_)?(?:service_host|service_port(?:_.+)?|port(?:_[0-9]+_.+)?)")


def load_values(
    given: Mapping[str, Any],
    *,
    known: Collection[str],
    lists: Collection[str],
    file: str | Path | None = None,
) -> dict[str, Any]:
    """Return the values that win, by name.

    ``lists`` are the settings that a variable of the environment writes as ``a, b`` or as JSON.
    Raises ``SettingsError`` for an unknown name, with the nearest known one.
    """
    for name in given:
        _check_name(name, known, shown=name)
    return {
        **_from_file(file or os.environ.get(FILE_VARIABLE), known),
        **_from_environment(known, lists),
        **given,
    }


def from_framework(where: str, given: object, *, known: Collection[str]) -> dict[str, Any]:
    """Return a framework's dictionary of settings in capitals, under our names.

    Raises ``SettingsError`` that names ``where`` for what is no such dictionary.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SettingsError(where, f"is {type(given).__name__}", fix="write a dictionary")
    values = cast("Mapping[object, Any]", given)
    capitals = {name.upper() for name in known}
    for name in values:
        _check_name(str(name), capitals, shown=f"{where}[{name!r}]")
    return {str(name).lower(): value for name, value in values.items()}


def _from_file(file: str | Path | None, known: Collection[str]) -> dict[str, Any]:
    path = Path(file or SETTINGS_FILE)
    if not file and not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            "settings file", f"{path.absolute()}: {error.strerror}", fix="name one that is there"
        ) from None
    except ValueError as error:  # not UTF-8, or not TOML: the text names line and column
        raise SettingsError("settings file", f"{path.absolute()}: {error}") from None
    table = content.pop("keybound", {})
    if content or not isinstance(table, dict):
        raise SettingsError(
            "settings file",
            f"{path.absolute()} has {', '.join(sorted(content)) or 'no table [keybound]'}",
            fix="write everything under [keybound]",
        )
    values = cast("dict[str, Any]", table)
    for name in values:
        _check_name(name, known, shown=f"{name} in {path.absolute()}")
    return values


def _from_environment(known: Collection[str], lists: Collection[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == FILE_VARIABLE:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in known and _INJECTED.fullmatch(name):
            raise SettingsError(
                variable,
                "is no setting; a container platform sets it where a service is called keybound",
                fix="unset it, or rename the service",
            )
        _check_name(name, known, shown=variable)
        values[name] = _split(name, text) if name in lists else text
    return values


_COMMA = re.compile(r",(?![^()]*\))")
"""Those in parentheses separate arguments."""


def _split(name: str, text: str) -> object:
    if text.lstrip(" \t").startswith("["):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise SettingsError(name, "is not JSON", fix="write a JSON list, or a, b") from None
    parts = (part.strip(" \t") for part in _COMMA.split(text))
    return [part for part in parts if part]


def _check_name(name: str, known: Collection[str], *, shown: str) -> None:
    if name not in known:
        other_case = name.swapcase()
        near = other_case if other_case in known else name
        raise SettingsError(shown, "is no setting", fix=nearest(near, known))
