"""``keybound redis-acl``: a user in Redis that can do what keybound does, and nothing else."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from keybound.caches.redis_rights import set_sentinel_user, set_user
from keybound.caches.redis_urls import Kind, RedisURL
from keybound.cli.render import Whole
from keybound.cli.session import Session
from keybound.core.errors import InputError

_WHERE = {
    Kind.SERVER: "say this to the server, as its administrator:",
    Kind.SENTINEL: "say the first to the primary and to every replica, and the second, with another"
    " password, to every Sentinel (sentinel_username and sentinel_password in the URL):",
    Kind.CLUSTER: "say this to every node, replicas as well:",
}
_HOW = (
    "no password is set here: add '#' and its SHA-256 to the command"
    ' (printf %s "$PASSWORD" | sha256sum), then keep both with ACL SAVE or CONFIG REWRITE'
)


def redis_acl(
    session: Session,
    *,
    user: Annotated[
        str, typer.Option(metavar="NAME", help="The name of the user in Redis.")
    ] = "keybound",
) -> None:
    """Print the commands that give a user in Redis the least rights that keybound needs.

    They are those for the setting redis: one server, Sentinels or a Cluster.
    """
    if not re.fullmatch(r"[\w.-]{1,64}", user, re.ASCII):
        raise InputError("--user", "is no name of a user", fix="letters, digits, '_', '-' and '.'")
    redis = session.find_guard().settings.redis
    kind, selects = Kind.SERVER, False
    if redis is not None:
        url = RedisURL.parse(redis.reveal())
        kind, selects = url.kind, url.selects
    commands = [set_user(user, kind, selects=selects)]
    if kind is Kind.SENTINEL:
        commands.append(set_sentinel_user(user))
    data = {"where": _WHERE[kind], "commands": commands, "password": _HOW}
    session.out.note(_WHERE[kind])
    session.out.result(data, *map(Whole, commands))
    session.out.note(_HOW)
