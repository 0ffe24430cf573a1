"""The identity among Flask's own variables: ``flask.g.api_key``, and ``keybound.current_key()``.

Both look into the request when they are asked: few requests ask, and none pays for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import has_request_context, request
from flask.ctx import _AppCtxGlobals  # pyright: ignore[reportPrivateUsage] - Flask documents it

from keybound.context import NO_KEY, NOTHING, Unknown, frameworks

if TYPE_CHECKING:
    from keybound.core.identity import Identity


class Variables(_AppCtxGlobals):
    """Flask's ``g``, with ``api_key`` in it."""

    @property
    def api_key(self) -> Identity | None:
        """Who is calling, ``None`` where no key was needed and outside of requests."""
        known = identity_here()
        return None if isinstance(known, Unknown) else known

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as Flask has it
        """Return a variable."""
        return self.api_key if name == "api_key" else super().get(name, default)

    def __contains__(self, item: str) -> bool:
        """Return whether there is a variable of this name."""
        return item == "api_key" or super().__contains__(item)


def with_api_key(kind: type[Any]) -> type[Variables]:
    """Return the class of an application's ``flask.g``, which may be its own, with ``api_key``."""
    if kind is _AppCtxGlobals:
        return Variables
    return type(kind.__name__, (Variables, kind), {})


def identity_here() -> Identity | Unknown:
    """Return what the request says that Flask is serving here."""
    if not has_request_context() or "keybound" not in request.environ:
        return NOTHING
    identity: Identity | None = request.environ["keybound"]
    return identity or NO_KEY


frameworks.append(identity_here)
