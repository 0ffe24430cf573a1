"""Headers that look like an identity of ours: none exists, so none is passed on (WSGI, Django)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FORGED = "HTTP_X_KEYBOUND_"
_NAMES_MAX = 1_024
_NAME_MAX = 64

HARMLESS: set[str] = set()
"""Names of an environment that were looked at: a request that has no others has nothing forged.

To ask this set costs half of what it costs to look through all names."""


def drop_forged(environ: MutableMapping[str, Any]) -> bool:
    """Take such headers out of an environment, and return whether there were any."""
    forged = [name for name in environ if name.startswith(_FORGED)]
    for name in forged:
        del environ[name]
    if len(HARMLESS) > _NAMES_MAX:  # clients make names up
        HARMLESS.clear()
    HARMLESS.update(name for name in environ if len(name) <= _NAME_MAX)
    return bool(forged)
