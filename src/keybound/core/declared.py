"""Routes that an application's own router has, as they join the table after the configured ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from keybound.core.facts import WEBSOCKET
from keybound.core.routes import Route

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from keybound.core.facts import Access
    from keybound.core.routes import Auth


@dataclass(frozen=True, slots=True, init=False)
class DeclaredRoute(Route):
    """A route matched exactly as its router does: by ``regex``, and by its methods alone.

    Without methods it answers all but WebSockets.

    ``path`` is for people. ``auth`` is the least that holds: where ``protect`` says that a path is
    guarded, it is guarded, so that nothing an application declares opens anything.
    """

    configured: ClassVar[bool] = False

    regex: re.Pattern[str]

    def __init__(
        self,
        path: str,
        regex: re.Pattern[str],
        methods: Iterable[str] | None,
        *,
        model: str | None = None,
        access: Access | None = None,
        scopes: Iterable[str] = (),
        tenant: str | None = None,
        auth: Auth = "exempt",
    ) -> None:
        """Check every part; raises ``InputError`` that names it."""
        object.__setattr__(self, "regex", regex)
        self._set(regex.groupindex, path, methods, model, access, scopes, tenant, auth)

    def pattern(self) -> re.Pattern[str]:
        """Return the router's own expression."""
        return self.regex

    def answers(self, method: str) -> bool:
        """Return whether the router answers this method here."""
        return method != WEBSOCKET if self.methods is None else method in self.methods
