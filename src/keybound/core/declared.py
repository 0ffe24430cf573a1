"""Routes that an application's own router has, as they join the table after the configured ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, cast
from uuid import UUID

from keybound.core.errors import InputError
from keybound.core.facts import MAY_READ, WEBSOCKET
from keybound.core.routes import Route

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Mapping

    from keybound.core.facts import Access
    from keybound.core.routes import Auth


class Expression(Protocol):
    """What a regular expression is to the table; one may look closer at what it matched."""

    @property
    def groupindex(self) -> Mapping[str, int]:
        """The names of the fields."""
        ...

    def fullmatch(self, string: str, /) -> re.Match[str] | None:
        """Return what a whole path matched."""
        ...


@dataclass(frozen=True, slots=True)
class Arguments:
    """The expression of a route whose router is asked: it names fields, and matches nothing."""

    groupindex: Mapping[str, int]

    @classmethod
    def named(cls, names: Iterable[str]) -> Self:
        """Return the one with these fields."""
        return cls(dict.fromkeys(names, 0))

    def fullmatch(self, _string: str, /) -> None:
        """Return ``None``."""
        return


def argument_text(value: object) -> str | None:
    """Return an argument of a view as text that a limit can name; ``None`` if there is none."""
    return str(value) if type(value) in _AS_WRITTEN else None


_AS_WRITTEN = frozenset({str, int, UUID})


@dataclass(frozen=True, slots=True, init=False)
class DeclaredRoute(Route):
    """A route matched exactly as its router does: by ``regex``, and by its methods alone.

    Without methods it answers all but WebSockets. The facts that are ``unresolved``, ``model`` or
    ``tenant``, are unknown whatever fields there are. ``access="read"`` is for methods that may
    read: those of ``MAY_READ``, and WebSockets.

    ``path`` is for people. ``auth`` is the least that holds: where ``protect`` says that a path is
    guarded, it is guarded, so that nothing an application declares opens anything.
    """

    configured: ClassVar[bool] = False

    regex: Expression

    def __init__(
        self,
        path: str,
        regex: Expression,
        methods: Iterable[str] | None,
        *,
        model: str | None = None,
        access: Access | None = None,
        scopes: Iterable[str] = (),
        tenant: str | None = None,
        auth: Auth = "exempt",
        unresolved: Collection[str] = (),
    ) -> None:
        """Check every part; raises ``InputError`` that names it."""
        object.__setattr__(self, "regex", regex)
        self._set(regex.groupindex, path, methods, model, access, scopes, tenant, auth)
        for fact in unresolved:
            object.__setattr__(self, fact, None)
        object.__setattr__(self, "unresolved", frozenset(unresolved))
        changing = sorted((self.methods or frozenset()) - MAY_READ - {WEBSOCKET})
        if access == "read" and changing:
            raise InputError(
                "access",
                f"'read' for {' and '.join(changing)} of {path}",
                fix="say it of the POST route itself, not of all routes around it",
            )

    def pattern(self) -> re.Pattern[str]:
        """Return the router's own expression."""
        return cast("re.Pattern[str]", self.regex)  # all that the table asks for is fullmatch

    def answers(self, method: str) -> bool:
        """Return whether the router answers this method here."""
        return method != WEBSOCKET if self.methods is None else method in self.methods


class UnreadRoute(DeclaredRoute):
    """Tells that an application has routes which nobody can read in advance; it is for no request.

    They are about these facts. ``anywhere``: by the path alone, any request may be for them.
    """

    __slots__ = ("anywhere",)

    anywhere: bool

    def __init__(self, facts: Iterable[str], *, anywhere: bool) -> None:
        """Name the facts: ``model``, ``tenant``, both or none."""
        super().__init__("/*", Arguments.named(facts), None)
        object.__setattr__(self, "anywhere", anywhere)
