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
stood elsewhere, so it then names the key, which is no credential, whatever else stood there: that
may be the same for everybody. The tokens that authenticators know stay."""

_NAMES = "Keybound "
"""How what we write there begins. From a client it would name somebody else's key to a cache."""

_READ_OF_META = ("headers", "GET", "COOKIES")
"""What Django made of the environment, if somebody asked before us: it is made again."""


def hide(project: Project, request: GuardedRequest, identity: Identity | None) -> None:
    """Take forged headers out, and the key where it is not to be seen.

    ``identity`` is that of whoever is let in.
    """
    reader, meta = project.guard.reader, request.META
    query = meta.get("QUERY_STRING")
    hidden = reader.hidden(EnvironHead(meta, "", ""), allowed=identity is not None)
    drop_forged(meta)
    hide_in_environ(meta, reader.places, hidden)
    scope = getattr(request, "scope", None)
    if scope is not None:
        hide_in_scope(scope, reader.places, hidden)
    if meta.get("QUERY_STRING") != query:
        request.keybound_deprecated = True
    given: str = meta.get(_AUTHORIZATION) or ""
    stays = bool(given) and not given.startswith(_NAMES)
    if identity is not None and _is_stored(identity):
        stays = bool(given) and b"authorization" in reader.places.headers  # the key itself
    if not stays:
        meta.pop(_AUTHORIZATION, None)
        if identity is not None:
            meta[_AUTHORIZATION] = f"{_NAMES}{identity.key_id}"
    for name in _READ_OF_META:
        vars(request).pop(name, None)


def _is_stored(identity: Identity) -> bool:
    """Return whether it is that of a key: no authenticator may name anybody like one."""
    return identity.key_id.startswith("key_")
