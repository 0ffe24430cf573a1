"""What every shell does when it is installed: a guard of the right kind, once, around the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from keybound.core.errors import SettingsError
from keybound.guard import AsyncGuard, BaseGuard

if TYPE_CHECKING:
    from collections.abc import Iterator

G = TypeVar("G", bound=BaseGuard)

_INSIDE = ("app", "wsgi_app", "application")
"""Attributes under which middleware and frameworks keep the application that they wrap."""

_NESTED_MAX = 100
"""Applications within applications that are searched for what cannot work."""


def usable_guard(kind: type[G], guard: object) -> G:
    """Return the guard, or one made from the environment and ``keybound.toml`` where none is given.

    Raises ``SettingsError`` for a guard of the other kind, and for what is wrong with the settings.
    """
    if guard is None:
        return kind.from_settings()
    if not isinstance(guard, kind):
        other = ".to_async()" if kind is AsyncGuard else ".to_sync()"
        found = type(guard).__name__
        raise SettingsError("guard", f"is {found}", fix=f"give {_a(kind.__name__)}, or {other}")
    return guard


def refuse_twice(app: object, middleware: type) -> None:
    """Raise ``SettingsError`` for a guarded application: a second guard would audit all twice."""
    for inner in nested(app):
        kinds: list[object] = [type(inner)]
        kinds += [getattr(each, "cls", None) for each in getattr(inner, "user_middleware", ())]
        if any(isinstance(kind, type) and issubclass(kind, middleware) for kind in kinds):
            raise SettingsError("middleware", "is installed twice", fix="remove one of the two")


def nested(app: object) -> Iterator[object]:
    """Yield an application, and what it wraps."""
    inner: object = app
    for _ in range(_NESTED_MAX):
        if inner is None:
            return
        yield inner
        inner = next((found for name in _INSIDE if (found := getattr(inner, name, None))), None)


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
