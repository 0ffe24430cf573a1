"""Headers of an environment that need a closer look (WSGI, Django).

Those that look like an identity of ours: none exists, so none is passed on. And those that ask for
another method than the request has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keybound.core.overriding import HEADERS

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FORGED = "HTTP_X_KEYBOUND_"
_NAMES_MAX = 1_024
_NAME_MAX = 64

_OVERRIDES = frozenset(f"HTTP_{name.upper().replace('-', '_')}" for name in HEADERS)

HARMLESS: set[str] = set()
"""Names of an environment that were looked at: a request that has no others is not odd.

To ask this set costs half of what it costs to look through all names."""


def is_odd(environ: MutableMapping[str, Any]) -> bool:
    """Return whether an environment has such a header, and remember its names if not."""
    odd = any(name.startswith(_FORGED) or name in _OVERRIDES for name in environ)
    if not odd:
        if len(HARMLESS) > _NAMES_MAX:  # clients make names up
            HARMLESS.clear()
        HARMLESS.update(name for name in environ if len(name) <= _NAME_MAX)
    return odd


def drop_forged(environ: MutableMapping[str, Any]) -> None:
    """Take forged headers out of an environment."""
    for name in [name for name in environ if name.startswith(_FORGED)]:
        del environ[name]
