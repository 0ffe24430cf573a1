"""Django's setting ``KEYBOUND``: every setting of keybound in upper case, and ``OWNER``.

It wins over the environment, and that over ``keybound.toml``.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from keybound.core.errors import KeyboundError, SettingsError
from keybound.settings import Settings
from keybound.sources import from_framework

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

NAME = "KEYBOUND"
OWNER = "OWNER"
_KNOWN = {OWNER.lower(), *(field.name for field in fields(Settings))}


class MisconfiguredError(SettingsError, ImproperlyConfigured):
    """A project is set up in a way that cannot work, or does not protect."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a project says: settings by their Python names, and the path of ``load_owner``."""

    settings: Mapping[str, Any]
    owner: str | None

    @classmethod
    def read(cls) -> Configuration:
        """Read the setting; raises ``MisconfiguredError`` for an unknown name."""
        try:
            values = from_framework(NAME, getattr(settings, NAME, None), known=_KNOWN)
        except SettingsError as error:
            raise MisconfiguredError(error.field, error.problem, fix=error.fix) from None
        owner = values.pop(OWNER.lower(), None)
        if owner is not None and not isinstance(owner, str):
            raise MisconfiguredError(
                f"{NAME}[{OWNER!r}]",
                f"is {type(owner).__name__}",
                fix='write "app.keys.load_owner"',
            )
        return cls(values, owner)

    @contextmanager
    def named(self) -> Generator[None]:
        """Let errors about settings name them as they stand in the project's settings."""
        try:
            yield
        except MisconfiguredError:
            raise
        except SettingsError as error:
            name, rest = cast(
                "re.Match[str]", re.match(r"(\w*)(.*)", error.field, re.DOTALL)
            ).groups()
            field = f"{NAME}[{name.upper()!r}]{rest}" if name in self.settings else error.field
            raise MisconfiguredError(field, error.problem, fix=error.fix) from None

    def load_owner(self) -> Callable[..., Any]:
        """Return what finds the user of an owner, of which the project says the path.

        Raises ``MisconfiguredError``.
        """
        where = f"{NAME}[{OWNER!r}]"
        try:
            found: object = import_string(self.owner or "")
        except KeyboundError:
            raise
        except Exception as error:
            # The text of somebody else's error may hold anything; that a name is missing is plain.
            said = str(error) if isinstance(error, ImportError) else type(error).__qualname__
            fix = "name a function load_owner(owner, identity)"
            raise MisconfiguredError(where, f"cannot be imported ({said})", fix=fix) from error
        if not callable(found):
            kind = type(found).__qualname__
            raise MisconfiguredError(where, f"{self.owner} is {kind}", fix="name a function")
        return found
