"""Paths of WSGI that are not UTF-8: Django repairs them before it has a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.signals import request_started

from keybound.wsgi import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping

_CAME_AS = "keybound.path_info"
"""Where an environment has the path as the server wrote it, if that is not plain ASCII."""


def is_repaired(meta: Mapping[str, Any]) -> bool:
    """Return whether Django made the path of bytes that are not UTF-8: it then has ``%`` in it."""
    came: str | None = meta.get(_CAME_AS)
    return came is not None and not decoded(came)


def _keep(*, environ: dict[str, Any] | None = None, **_more: object) -> None:
    if environ is None:  # ASGI, whose paths are left alone
        return
    path: str = environ.get("PATH_INFO") or ""
    if not path.isascii():
        environ[_CAME_AS] = path


# Every handler of Django sends it first, with the environment as it came.
request_started.connect(_keep, weak=False, dispatch_uid="keybound.django")
