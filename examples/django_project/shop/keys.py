"""Who is behind a key, in the words of this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User

if TYPE_CHECKING:
    from keybound import Identity


def load_owner(owner: str, _identity: Identity) -> User | None:
    """Return the user who owns a key; for one that is gone or inactive, the key is refused."""
    return User.objects.filter(username=owner).first()
