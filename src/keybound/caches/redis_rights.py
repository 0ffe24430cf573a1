"""What keybound's user in Redis must be allowed to do, and nothing else."""

from __future__ import annotations

from typing import Final

from keybound.caches.redis_urls import Kind

NAMES: Final = "~keybound:*"
"""The names that are read and written."""

CHANNELS: Final = "&keybound:*"
"""The channels in which changes are told."""

_EVERYWHERE: Final = (
    *("getrange", "evalsha", "eval"),
    *("set", "publish"),  # by the script
    *("subscribe", "ping"),  # whoever listens
)
_ALSO: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.SERVER: (),
    Kind.SENTINEL: ("role",),  # a server that the Sentinels name is asked what it is
    Kind.CLUSTER: ("cluster|slots", "asking"),
}
_SENTINEL: Final = ("sentinel|get-master-addr-by-name",)


def set_user(name: str, kind: Kind, *, selects: bool) -> str:
    """Return the command that makes the user of the servers; it changes no password.

    AUTH needs no right. ``selects`` is for a database other than the first.
    """
    commands = (*_EVERYWHERE, *(("select",) if selects else ()), *_ALSO[kind])
    return _set_user(name, NAMES, CHANNELS, *_allowed(commands))


def set_sentinel_user(name: str) -> str:
    """Return the command that makes the user of the Sentinels."""
    return _set_user(name, *_allowed(_SENTINEL))


def _allowed(commands: tuple[str, ...]) -> tuple[str, ...]:
    return ("-@all", *(f"+{command}" for command in commands))


def _set_user(name: str, *rules: str) -> str:
    # Not ``reset``, which would take the password away from a user that is there.
    return " ".join(("ACL SETUSER", name, "on", "resetkeys", "resetchannels", *rules))
