"""How every part of the evaluator says no."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - it is an outcome, no error
    """The request is denied, for a reason, perhaps by a node; ``meant``: for a key of this site."""

    def __init__(self, reason: str, node: str | None = None, *, meant: bool = False) -> None:
        """Say why."""
        super().__init__(reason)
        self.reason = reason
        self.node = node
        self.meant = meant
