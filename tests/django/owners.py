"""Functions that find the user of an owner, by their paths, and what they were asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser, User

if TYPE_CHECKING:
    from keybound import Identity

asked: list[tuple[str, str]] = []
users: dict[str, Any] = {}
NOTHING = None


def load_owner(owner: str, identity: Identity) -> Any:
    """Return the user of an owner, as one that asks a database does."""
    asked.append((owner, identity.key_id))
    return users.get(owner)


async def load_owner_async(owner: str, identity: Identity) -> Any:
    """Return the same."""
    return load_owner(owner, identity)


def stop(owner: str, _identity: Identity) -> Any:
    """Look for the first of none."""
    return next(user for name, user in users.items() if name == f"no {owner}")


def fail(_owner: str, _identity: Identity) -> Any:
    """Fail as a database does that is down, with a text that nobody may see."""
    msg = "password=hunter2"
    raise OSError(msg)


def known() -> dict[str, Any]:
    """Return a user of each kind."""
    return {
        "u_1": User(username="alice"),
        "u_2": User(username="gone", is_active=False),
        "u_3": AnonymousUser(),
        "u_4": User(username="legacy", is_active=0),
    }
