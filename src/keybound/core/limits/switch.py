"""Limits that are there or not, and have no value besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keybound.core.errors import LimitError
from keybound.core.limits.clause import Clause

if TYPE_CHECKING:
    from typing import Self

    from keybound.core.limits.clause import Json


@dataclass(frozen=True, slots=True)
class Switch(Clause):
    """A dimension with one clause: what it permits is for subclasses to say."""

    choices = "write true or false"

    @classmethod
    def parse(cls, value: object, /) -> Self | None:
        """Read ``True``; ``False`` is no clause, and nothing else is taken for either."""
        if value is True:
            return cls()
        if value is False:
            return None
        raise LimitError(cls.dimension, "is neither true nor false", fix=cls.choices)

    def covers(self, other: Clause, /) -> bool:
        """Say whether the other is the same; there is only one."""
        return self == other

    def dump(self) -> Json:
        """Return ``True``."""
        return True
