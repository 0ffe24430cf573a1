"""Taking out of a request of Django what its views are not to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.forged import drop_forged
from keybound.heads import EnvironHead
from keybound.hiding import hide_in_environ, hide_in_scope

if TYPE_CHECKING:
    from keybound.core.identity import Identity
    from keybound.django.facts import GuardedRequest
    from keybound.django.projects import Project

_AUTHORIZATION = "HTTP_AUTHORIZATION"
"""By this header Django's caches tell requests apart. They would not see a key that was hidden or
stood elsewhere, so it then names the key, which is no credential; what else stands there stays."""

_READ_OF_META = ("headers", "GET", "COOKIES")
"""What Django made of the environment, if somebody asked before us: it is made again."""


def hide(project: Project, request: GuardedRequest, identity: Identity | None) -> None:
    """Take forged headers out, and the key where it is not to be seen.

    ``identity`` is that of whoever is let in.
    """
    reader, meta = project.guard.reader, request.META
    query = meta.get("QUERY_STRING")
    everywhere = reader.hides(EnvironHead(meta, "", ""), allowed=identity is not None)
    drop_forged(meta)
    hide_in_environ(meta, reader.places, everywhere=everywhere)
    scope = getattr(request, "scope", None)
    if scope is not None:
        hide_in_scope(scope, reader.places, everywhere=everywhere)
    if meta.get("QUERY_STRING") != query:
        request.keybound_deprecated = True
    if identity is not None and not meta.get(_AUTHORIZATION):
        meta[_AUTHORIZATION] = f"Keybound {identity.key_id}"
    for name in _READ_OF_META:
        vars(request).pop(name, None)
