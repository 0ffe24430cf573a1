"""The user behind a key, where the project says how to find it: ``KEYBOUND["OWNER"]``.

It is found before the view and every later middleware run, and not when somebody looks at
``request.user``: a key whose owner is gone must not be served by a view that never looks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from keybound.core.decision import Denied
from keybound.core.effects import Effect, ask
from keybound.core.reasons import Reason

if TYPE_CHECKING:
    from keybound.core.effects import Steps
    from keybound.core.identity import Identity
    from keybound.django.facts import GuardedRequest
    from keybound.django.projects import Project


@dataclass(frozen=True, slots=True)
class FindOwner(Effect[object]):
    """The user that the project's own function finds, ``None`` if there is none."""

    owner: str
    identity: Identity


def find_owner(project: Project, request: GuardedRequest) -> Steps[Denied | None]:
    """Find the user; return the denial that a missing one is."""
    identity = request.api_key
    if identity is None or not project.owned or hasattr(request, "keybound_user"):
        return None
    user = None
    try:
        if identity.owner is not None:
            user = yield from ask(FindOwner(identity.owner, identity))
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is a denial
        return project.guard.engine.refuser.failed(error)
    anonymous = getattr(user, "is_anonymous", False) is True
    if user is None or not (getattr(user, "is_active", True) or anonymous):
        # As a dead node above the key would be: the client is told no more than that.
        whose = "it has no owner" if identity.owner is None else "its owner is gone or not active"
        project.teller.tell(f"key {identity.key_id} is refused", whose, level=logging.INFO)
        return Denied(Reason.DISABLED, key=identity.key_id)
    request.keybound_user = user
    return None


def show_owner(request: GuardedRequest) -> None:
    """Let ``request.user`` be the owner, once Django's own middleware has set it."""
    if request.api_key is not None and hasattr(request, "keybound_user"):
        user = request.keybound_user
        request.user = cast("Any", user)  # whatever the project says a user is
        request.auser = partial(_same, user)


async def _same(user: object) -> object:
    return user
