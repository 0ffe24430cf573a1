"""Where the model of a request comes from besides its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from keybound.core.head import Head

NamesModels: TypeAlias = "Callable[[Head], str | Iterable[str] | None]"


def called(names: NamesModels, head: Head | None) -> tuple[str, ...]:
    """Return the models that a site's own function names; anything but names is none."""
    answer: object = None if head is None else names(head)
    if isinstance(answer, str):
        answer = (answer,)
    if not isinstance(answer, Iterable):
        return ()
    models = tuple(cast("Iterable[object]", answer))
    return cast("tuple[str, ...]", models) if all(_is_name(model) for model in models) else ()


def _is_name(model: object) -> bool:
    return isinstance(model, str) and model != ""
