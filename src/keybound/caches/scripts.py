"""The script that writes to Redis: a value that is newer than what is there, and a message."""

from __future__ import annotations

from hashlib import sha1
from importlib import resources
from typing import TYPE_CHECKING

from redis import exceptions

from keybound.caches.redis_link import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.caches.redis_link import Line, Reply
    from keybound.core.effects import Announce, Offer, Steps

KEPT_FOR = 3_600
"""Seconds for which a value is kept: one that is needed is written anew when the store is asked,
and what nobody asks for, or is of an epoch that is over, takes no room for longer."""

_SET_IF_NEWER = resources.files("keybound.caches").joinpath("set_if_newer.lua").read_bytes()
_SCRIPT_NAME = sha1(_SET_IF_NEWER, usedforsecurity=False).hexdigest().encode()


def evaluate(line: Line, writes: Sequence[tuple[Offer, Announce | None]]) -> Steps[list[Reply]]:
    """Write these values, each with its message if it has one; return what became of each.

    Raises ``CacheError``. A server that does not know the script is sent it.
    """
    packed = [pack(b"EVALSHA", _SCRIPT_NAME, *_arguments(*each)) for each in writes]
    replies = yield from line.converse(b"".join(packed), len(packed))
    unknown = [
        number
        for number, reply in enumerate(replies)
        if isinstance(reply, exceptions.NoScriptError)
    ]
    if unknown:
        packed = [pack(b"EVAL", _SET_IF_NEWER, *_arguments(*writes[each])) for each in unknown]
        again = yield from line.converse(b"".join(packed), len(packed))
        for number, reply in zip(unknown, again, strict=True):
            replies[number] = reply
    return replies


def _arguments(offer: Offer, announced: Announce | None) -> tuple[bytes, ...]:
    written = b"1", offer.name, offer.value, b"%d" % (KEPT_FOR * 1_000), b"%d" % offer.replace
    return written if announced is None else (*written, announced.channel, announced.message)
