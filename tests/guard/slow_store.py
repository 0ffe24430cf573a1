"""A store that counts what it is asked, and answers when a test lets it."""

from __future__ import annotations

import threading

from keybound.core.effects import LoadByDigest
from keybound.stores.memory import MemoryStore


class SlowStore(MemoryStore):
    """A store that counts, and answers look-ups when it is told to."""

    def __init__(self):
        """Answer at once."""
        super().__init__()
        self.asked = []
        self.error = None
        self.open = threading.Event()
        self.open.set()

    def perform(self, effect):
        """Count, wait, fail or answer."""
        self.asked.append(type(effect))
        if isinstance(effect, LoadByDigest):
            self.open.wait(timeout=10)
            if self.error is not None:
                raise self.error
        return super().perform(effect)
