"""The user behind a key, where the project says how to find it: ``KEYBOUND["OWNER"]``.

It is found before the view and every later middleware run, and not when somebody looks at
``request.user``: a key whose owner is gone must not be served by a view that never looks.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from keybound.core.decision import Denied
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from keybound.django.facts import GuardedRequest
    from keybound.django.sites import Site

logger = logging.getLogger("keybound")


def find_owner(site: Site, request: GuardedRequest) -> Denied | None:
    """Find the user; return the denial that a missing one is."""
    identity, find = request.api_key, site.owner
    if identity is None or find is None or hasattr(request, "keybound_user"):
        return None
    try:
        user: object = None if identity.owner is None else find(identity.owner, identity)
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return site.guard.engine.failed(error)
    return _settle(request, user)


async def find_owner_async(site: Site, request: GuardedRequest) -> Denied | None:
    """Find the user; return the denial that a missing one is."""
    identity, find = request.api_key, site.async_owner
    if identity is None or find is None or hasattr(request, "keybound_user"):
        return None
    try:
        user: object = None if identity.owner is None else await find(identity.owner, identity)
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return site.guard.engine.failed(error)
    return _settle(request, user)


def show_owner(request: GuardedRequest) -> None:
    """Let ``request.user`` be the owner, once Django's own middleware has set it."""
    if request.api_key is not None and hasattr(request, "keybound_user"):
        user = request.keybound_user
        request.user = cast("Any", user)  # whatever the project says a user is
        request.auser = partial(_same, user)


def _settle(request: GuardedRequest, user: object) -> Denied | None:
    identity = request.api_key
    assert identity is not None  # noqa: S101 - there was one to look for
    anonymous = getattr(user, "is_anonymous", False) is True
    if user is None or (getattr(user, "is_active", True) is False and not anonymous):
        # As a dead node above the key would be: the client is told no more than that.
        whose = (
            "has no owner" if identity.owner is None else f"has no active owner {identity.owner!r}"
        )
        logger.info("key %s %s, as KEYBOUND['OWNER'] finds them", identity.key_id, whose)
        return Denied(Reason.DISABLED, key=identity.key_id)
    request.keybound_user = user
    return None


async def _same(user: object) -> object:
    return user
