"""What keybound raises. A refusal of a request is a value; these are for the operator."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keybound.core.decision import Denied


class KeyboundError(Exception):
    """Root of everything that keybound raises on purpose."""


class InputError(KeyboundError, ValueError):
    """A given value is not usable: the message names the field, the problem and the fix."""

    def __init__(self, field: str, problem: str, *, fix: str = "") -> None:
        """Say what is wrong with ``field``; neither text may contain a secret."""
        self.field = field
        self.problem = problem
        self.fix = fix
        super().__init__(f"{field}: {problem}" + (f"; {fix}" if fix else ""))


class SettingsError(InputError):
    """A setting is unknown or has a value that cannot work; raised at start-up."""


class LimitError(InputError):
    """A limit is unknown or cannot be read."""


class ExceedsCeilingError(KeyboundError):
    """A key would be allowed more than a node above it; ``node`` and ``dimension`` say where."""

    def __init__(self, *, node: str, dimension: str, allowed: str, asked: str) -> None:
        """Name the ceiling, what it allows and what was asked."""
        self.node = node
        self.dimension = dimension
        super().__init__(
            f"{dimension}: {asked} exceeds what {node} allows ({allowed}); "
            f"ask for less, or issue the key without that parent"
        )


_NAME_SHOWN_MAX = 12
"""Characters that are shown of what is no id: no more than a hint has of a key."""


class NotFoundError(KeyboundError):
    """No key or group has this id."""

    def __init__(self, node: str) -> None:
        """Name the id, which is public; what may be a key itself is cut short."""
        self.node = node
        public = len(node) <= _NAME_SHOWN_MAX or node.startswith(("key_", "group_"))
        named = node if public else f"{node[:_NAME_SHOWN_MAX]}..."
        super().__init__(f"{named}: there is no such key or group; `keybound list` shows the ids")


class ConflictError(KeyboundError):
    """Somebody else changed the node first; nothing was written."""


class StoreError(KeyboundError):
    """The store cannot be used as it is: the message says what to do."""


class StoreMissingError(StoreError):
    """No store was made yet where this one is looked for."""


class StoreUnavailableError(StoreError):
    """The store did not answer; the same call may succeed later."""


class StoreBusyError(StoreUnavailableError):
    """Too much is asked by this process at once to ask more: nothing is known of the store."""


class UnsureError(StoreUnavailableError):
    """The store did not answer, and may have done what it was asked for."""


class RecordCorruptError(StoreError):
    """A stored record cannot be read exactly, so it is not read at all."""


class CacheError(KeyboundError):
    """The shared cache did not answer; whatever it may hold counts as not there."""


class MissingExtraError(KeyboundError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, *, extra: str) -> None:
        """Name the package and the extra."""
        super().__init__(f"{package} is not installed: pip install 'keybound[{extra}]'")

    @classmethod
    def of(cls, error: ImportError, *, extra: str) -> Self:
        """Return the one for an import that failed, which may have been of a part of a package."""
        return cls((error.name or extra).partition(".")[0], extra=extra)


class FactError(KeyboundError):
    """A function of the site's own failed, so what it would have told of a request is unknown."""

    def __init__(self, setting: str, function: object, error: Exception) -> None:
        """Name the setting, the function and the kind of error, whose text is not repeated."""
        name = getattr(function, "__qualname__", type(function).__name__)
        super().__init__(f"{setting}: {name} raised {type(error).__name__}")


class RefusedError(KeyboundError):
    """A view asked for more than the key of its request may do; it is answered as a refusal is."""

    def __init__(self, denied: Denied) -> None:
        """Carry the denial to whoever renders it."""
        self.denied = denied
        super().__init__(f"refused: {denied.reason}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known name, or the list of all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
