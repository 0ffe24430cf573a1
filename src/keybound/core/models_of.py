"""Where the models of a request come from: its route, its body, or functions of the site."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self, TypeAlias, cast

from keybound.core.bodies import BODY, MODELS_MAX, BodyFields, named
from keybound.core.errors import InputError, nearest
from keybound.core.site_functions import answer_of, check_function

if TYPE_CHECKING:
    from keybound.core.head import Head

NamesModels: TypeAlias = "Callable[[Head], str | Iterable[str] | None]"
"""A function of the site: the models that a request is about, ``None`` where it cannot tell."""

_CALL = re.compile(r"\s*([A-Za-z_]+)\s*\(.*\)\s*", re.DOTALL)
_READ_MAX = 10 * MODELS_MAX


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What names the models of a request: each of them must be permitted."""

    template: str | None = None
    body: BodyFields | None = None
    calls: tuple[NamesModels, ...] = ()

    @classmethod
    def parse(cls, value: object, *, field: str = "model_from", templates: bool = False) -> Self:
        """Read ``body(model)``, a function, or a list of them; raises ``InputError``.

        ``templates``: other text is a template, of which there is one at most.
        """
        listed = cast("Iterable[object]", value) if isinstance(value, list | tuple) else [value]
        texts: list[str] = []
        bodies: list[str] = []
        calls: list[NamesModels] = []
        for each in listed:
            if isinstance(each, str):
                (bodies if _is_call(field, each) else texts).append(each)
            elif callable(each):
                check_function(field, each)
                calls.append(cast("NamesModels", each))
            else:
                raise InputError(field, f"{each!r} names no model", fix=_fix(templates=templates))
        if not (texts or bodies or calls) or len(texts) > (1 if templates else 0):
            problem = f"{texts[-1]!r} cannot stand here" if texts else "names nothing"
            raise InputError(field, problem, fix=_fix(templates=templates))
        read = [BodyFields.parse(each, field=field).fields for each in bodies]
        fields = tuple(dict.fromkeys(name for names in read for name in names))
        return cls(texts[0] if texts else None, BodyFields(fields) if fields else None, (*calls,))


def called(names: NamesModels, head: Head | None) -> tuple[str, ...]:
    """Return the models that a function names, none where it cannot tell.

    Raises ``FactError`` where it fails.
    """
    return () if head is None else answer_of("model_from", names, head, _names)


def _names(answer: object) -> tuple[str, ...]:
    if isinstance(answer, str):
        return named([answer]) or ()
    if not isinstance(answer, Iterable) or isinstance(answer, Mapping):
        return ()
    members = list(islice(cast("Iterable[object]", answer), _READ_MAX + 1))
    return () if len(members) > _READ_MAX else named(members) or ()


def _is_call(field: str, text: str) -> bool:
    found = _CALL.fullmatch(text)
    if found is not None and found[1] != BODY:
        raise InputError(field, f"{found[1]!r} is unknown", fix=nearest(found[1], [BODY]))
    return found is not None


def _fix(*, templates: bool) -> str:
    return (
        "write "
        + ("one text such as '{model}', " if templates else "")
        + ("'body(model)', or give a function")
    )
