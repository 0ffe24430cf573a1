"""One expectation of a case besides its status and reason, taken apart."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.security.outcomes import NotReplayableError

_FORM = re.compile(
    r"(?P<name>[a-z][a-z0-9_.]*)(?:(?P<op><=|>=|[:=<>])(?P<argument>.*))?", re.DOTALL
)


class Extra(NamedTuple):
    """One expectation, taken apart."""

    name: str
    op: str
    argument: str

    @property
    def number(self) -> float:
        """The argument as a number, or so many percent; raises ``NotReplayableError``."""
        try:
            return float(self.argument.removesuffix("%"))
        except ValueError:
            msg = f"nobody can read the number in {self.name}{self.op}{self.argument}"
            raise NotReplayableError(msg) from None


def take_apart(text: str) -> Extra:
    """Return the parts of an expectation; raises ``NotReplayableError`` if it has none."""
    found = _FORM.fullmatch(text)
    if found is None:
        msg = f"nobody can read the expectation {text!r}"
        raise NotReplayableError(msg)
    return Extra(found["name"], found["op"] or "", found["argument"] or "")
