"""How a committed change reaches the other workers at once, where there is a shared cache.

Nothing depends on it: whoever does not hear of a change learns of it at the next sync. So whatever
becomes of an announcement, the change is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound.core.effects import Announce, Offer, OfferShared, absence_id, ask
from keybound.core.errors import CacheError
from keybound.core.messages import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.core.effects import LogHead, Put, Steps
    from keybound.core.messages import Messages
    from keybound.core.shared import SharedRecords


def names_of(node_id: str, digest: bytes | None) -> tuple[str, ...]:
    """Return what a change of a node is about: itself, and that its digest is of no key.

    A worker may believe the latter that has not seen yet that the key was made.
    """
    return (node_id,) if digest is None else (node_id, absence_id(digest))


class Announcer:
    """Announces changes of one installation: the record as committed, and a message about it."""

    def __init__(self, records: SharedRecords, messages: Messages) -> None:
        """Write both under the secret that these have."""
        self._records = records
        self._messages = messages

    def announce(
        self,
        put: Put,
        head: LogHead,
        *,
        committed_at: float,
        digest: bytes | None,
        above: Sequence[str],
    ) -> Steps[bool]:
        """Announce what was committed as ``head``; return whether the server took it.

        ``committed_at`` is about when, in POSIX seconds. ``digest`` is what a key is stored under
        by now, and ``above`` what stands above it. A key is offered where it is looked for by
        clients; one that may be a parent, where those below it look for it, too. Nothing is raised.
        """
        records, node = self._records, put.node
        node_name = records.node_name(head.epoch, node.id)
        name = node_name if digest is None else records.key_name(head.epoch, digest)
        hints = () if digest is None else above
        offer = Offer(name, records.encode(name, node, head, hints), replace=False)
        message = Message(head.epoch, names_of(node.id, digest), head.rev, committed_at)
        effect = Announce(offer, self._messages.channel, self._messages.encode(message))
        try:
            yield from ask(effect)
        except CacheError:
            return False
        if digest is not None and put.expected is not None:  # what is new has none below it
            value = records.encode(node_name, node, head, ())
            yield from ask(OfferShared((Offer(node_name, value, replace=False),)))
        return True
