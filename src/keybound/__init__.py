"""Limited-access API keys for any Python web application, as ASGI and WSGI middleware.

Importing this package loads no framework and no client: names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keybound.context import current_key
    from keybound.core.errors import (
        ConflictError,
        ExceedsCeilingError,
        InputError,
        KeyboundError,
        LimitError,
        MissingExtraError,
        NotFoundError,
        RecordCorruptError,
        SettingsError,
        StoreError,
        StoreUnavailableError,
    )
    from keybound.core.head import Head
    from keybound.core.identity import Identity
    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt
    from keybound.core.limits import Limits
    from keybound.core.principals import Principal
    from keybound.core.reasons import Reason
    from keybound.core.refusals import RefusalResponse
    from keybound.core.routes import Route
    from keybound.core.secret import Secret
    from keybound.guard import AsyncGuard, Guard
    from keybound.rendering import PublicRefusal
    from keybound.settings import Settings

__all__ = [
    "AsyncGuard",
    "ConflictError",
    "ExceedsCeilingError",
    "Guard",
    "Head",
    "Identity",
    "InputError",
    "IssuedKey",
    "KeyboundError",
    "LimitError",
    "Limits",
    "MissingExtraError",
    "NotFoundError",
    "Principal",
    "PublicRefusal",
    "Reason",
    "Receipt",
    "RecordCorruptError",
    "RefusalResponse",
    "Route",
    "Secret",
    "Settings",
    "SettingsError",
    "StoreError",
    "StoreUnavailableError",
    "current_key",
]

_HOMES = {
    "keybound.context": ("current_key",),
    "keybound.core.head": ("Head",),
    "keybound.core.identity": ("Identity",),
    "keybound.core.issuing": ("IssuedKey",),
    "keybound.core.lifecycle": ("Receipt",),
    "keybound.core.limits": ("Limits",),
    "keybound.core.principals": ("Principal",),
    "keybound.core.reasons": ("Reason",),
    "keybound.core.refusals": ("RefusalResponse",),
    "keybound.core.routes": ("Route",),
    "keybound.core.secret": ("Secret",),
    "keybound.guard": ("AsyncGuard", "Guard"),
    "keybound.rendering": ("PublicRefusal",),
    "keybound.settings": ("Settings",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from where it is defined."""
    if name == "__version__":
        return import_module("importlib.metadata").version("keybound")
    if name not in __all__:
        msg = f"module 'keybound' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_HOME.get(name, "keybound.core.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*__all__, "__version__"])
