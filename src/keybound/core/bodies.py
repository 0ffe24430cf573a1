"""The models that a JSON body names: read exactly, or not at all.

A body that two parsers read in two ways would pass as one thing and act as another. So what
parsers differ in is no answer: duplicate names, other encodings, numbers that are none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json import JSONDecoder
from typing import TYPE_CHECKING, NoReturn, Self, TypeAlias, cast

from keybound.core.errors import InputError
from keybound.core.limits.clause import MEMBER_LENGTH_MAX
from keybound.core.spelled import read_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Step: TypeAlias = "tuple[str, bool]"
"""The name of a member, and whether each element of the list there is meant."""

BODY_MAX = 1 << 20
"""Bytes of the longest body that is read, where nobody chose."""

MODELS_MAX = 100
"""Different models that one request may name."""

BODY = "body"
"""How fields of a body are spelled: ``body(model)``."""

_DIGITS_MAX = 4_300
"""Digits of the longest whole number: Python's own limit, wherever an application moved that."""

_LENGTH_DIGITS_MAX = 18
_MEDIA_TYPE_MAX = 256

_STEP = re.compile(r"([^\s\[\].*]+)(\[\*\])?")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - token of RFC 9110 section 5.6.2
_PARAMETER = rf';[ \t]*+(?:({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*+"))?+'
_MEDIA_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})(?:[ \t]*+{_PARAMETER})*+")
_EACH_PARAMETER = re.compile(_PARAMETER)
_JSON = re.compile(r"application/json|[^/]+/[^/]+\+json", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BodyFields:
    """Fields of a JSON body that name models: ``body(model, fallbacks[*], messages[*].model)``.

    Dots lead to members of members, ``[*]`` to each element of a list.
    """

    fields: tuple[str, ...]

    @classmethod
    def parse(cls, value: str, *, field: str) -> Self:
        """Read one or more fields; raises ``InputError`` naming ``field``."""
        name, fields = read_call(field, value)
        if name != BODY or not fields:
            raise InputError(
                field, f"{value!r} names no field of a body", fix="write 'body(model)'"
            )
        for each in fields:
            if not all(map(_STEP.fullmatch, each.split("."))):
                raise InputError(
                    field,
                    f"{each!r} is no field of a body",
                    fix="write names with dots, and [*] behind a list: 'messages[*].model'",
                )
        return cls(tuple(dict.fromkeys(fields)))

    def __str__(self) -> str:
        """Return how it is spelled."""
        return f"{BODY}({', '.join(self.fields)})"

    def models(
        self, body: bytes, content_type: bytes | None, content_encoding: bytes | None
    ) -> tuple[str, ...] | None:
        """Return every model that a body names, each once; ``None`` where that cannot be told.

        Never empty: a body that names none leaves the choice to the application. Of a header that
        came in several lines the value is all of them, joined with commas. Takes time in proportion
        to the body, and raises nothing.
        """
        if not head_allows(content_type, content_encoding, None, len(body)):
            return None
        try:
            document: object = _DECODER.decode(body.decode("utf-8"))
            found = named(model for field in self.fields for model in _walk(document, _path(field)))
        except (ValueError, RecursionError):  # no JSON, not in one way only, or too deep for Python
            return None
        return found or None


def head_allows(
    content_type: bytes | None,
    content_encoding: bytes | None,
    content_length: bytes | None,
    cap: int,
) -> bool:
    """Return whether a body is worth reading: plain JSON, and not known to be over ``cap`` bytes.

    Whoever reads a body without a length, such as a chunked one, has to count.
    """
    if content_encoding is not None and content_encoding.strip(b" \t").lower() != b"identity":
        return False
    if content_length is not None:
        digits = content_length.strip(b" \t")
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX or int(digits) > cap:
            return False
    return content_type is not None and _is_json(content_type.strip(b" \t").decode("latin-1"))


def named(models: Iterable[object]) -> tuple[str, ...] | None:
    """Return names of models, each once; ``None`` where one is no name, or they are too many."""
    found: dict[str, None] = {}
    for model in models:
        if not isinstance(model, str) or not 0 < len(model) <= MEMBER_LENGTH_MAX:
            return None
        if model in found:
            continue
        if len(found) == MODELS_MAX or _SURROGATE.search(model):
            return None
        found[str.__str__(model)] = None  # a member of an enumeration is text, too
    return tuple(found)


_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character, which JSON can spell, and no log can write."""


def _is_json(media_type: str) -> bool:
    found = _MEDIA_TYPE.fullmatch(media_type) if len(media_type) <= _MEDIA_TYPE_MAX else None
    if found is None or not _JSON.fullmatch(found[1]):
        return False
    parameters = _EACH_PARAMETER.findall(media_type)
    charsets = [text.strip('"').lower() for name, text in parameters if name.lower() == "charset"]
    return charsets in ([], ["utf-8"])


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_number(_constant: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``, which only some parsers take."""
    raise ValueError


def _whole(digits: str) -> int:
    """Refuse what Python would, and make nothing of the rest: that takes the square of the time."""
    if len(digits.removeprefix("-")) > _DIGITS_MAX:
        raise ValueError
    return 0


_DECODER = JSONDecoder(object_pairs_hook=_members, parse_constant=_no_number, parse_int=_whole)


def _path(field: str) -> tuple[_Step, ...]:
    return tuple((part.removesuffix("[*]"), part.endswith("[*]")) for part in field.split("."))


def _walk(value: object, path: tuple[_Step, ...]) -> Iterator[object]:
    """Yield what is at the end of a path; raises ``ValueError`` where it leads nowhere.

    A list that is not there has no elements, also where what it would be in is not there.
    """
    if not path:
        yield value
        return
    (name, each), rest = path[0], path[1:]
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - as for all that is wrong with a body
    members = cast("dict[str, object]", value)
    if name not in members:
        if not any(listed for _, listed in path):
            raise ValueError
        return
    found = members[name]
    if not each:
        yield from _walk(found, rest)
        return
    if not isinstance(found, list):
        raise ValueError  # noqa: TRY004 - the same
    for element in cast("list[object]", found):
        yield from _walk(element, rest)
