"""Path patterns, and the templates that are filled from what they matched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keybound.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}", re.ASCII)


def compile_path(path: str, *, whole_branch: bool = False) -> re.Pattern[str]:
    """Return what a whole path must match, with its fields as named groups.

    ``whole_branch`` makes ``/v1/*`` match ``/v1`` as well, and ``/v1`` match ``/v1/``, which some
    routers take alike.
    """
    body, star = path.removesuffix("/*"), path.endswith("/*")
    pattern, at = "", 0
    for field in _FIELD.finditer(body):
        pattern += re.escape(body[at : field.start()])
        pattern += f"(?P<{field[1]}>{'.*' if field[2] else '[^/]+'})"
        at = field.end()
    pattern += re.escape(body[at:])
    if star:
        pattern += "(?:/.*)?" if whole_branch else "/.*"
    elif whole_branch:
        pattern += "/?"
    return re.compile(pattern, re.DOTALL)


def fixed_start(path: str) -> str:
    """Return what every path that a pattern matches begins with."""
    return path.removesuffix("/*").partition("{")[0]


def fill(template: str | None, fields: Mapping[str, str | None]) -> str | None:
    """Return a template with its fields filled in, ``None`` when one of them is not known."""
    if template is None or "{" not in template:
        return template
    if any(fields.get(name) is None for name in template_fields(template)):
        return None
    return _FIELD.sub(lambda field: fields[field[1]] or "", template)


def sample_path(path: str) -> str:
    """Return a path that a pattern matches."""
    body = path.removesuffix("/*") + ("/x" if path.endswith("/*") else "")
    return _FIELD.sub("x", body)


def may_meet(one: str, other: str) -> bool:
    """Return whether some path may match both patterns; in doubt it may."""
    ours, theirs = one.split("/"), other.split("/")
    for our, their in zip(ours, theirs, strict=False):
        if _spans(our) or _spans(their):
            return True
        if our != their and "{" not in our + their:
            return False
    longer = ours if len(ours) > len(theirs) else theirs
    rest = longer[min(len(ours), len(theirs)) :]
    return not rest or _spans(rest[0])


def _spans(segment: str) -> bool:
    """Return whether a part of a pattern may stand for any number of segments."""
    return segment == "*" or ":path}" in segment


def template_fields(template: str | None) -> list[str]:
    """Return the names of the fields that a template uses."""
    return [field[1] for field in _FIELD.finditer(template or "")]


def path_fields(path: object, *, field: str = "path") -> frozenset[str]:
    """Return the names of the fields of a path pattern; raises ``InputError`` naming ``field``.

    One part of a pattern may span segments, so that matching takes time in proportion to the path.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise InputError(field, f"{path!r} does not start with a slash", fix="write '/v1/*'")
    found = list(_FIELD.finditer(path))
    names = [each[1] for each in found]
    rest = _FIELD.sub("", path.removesuffix("/*"))
    spans = sum(each[2] is not None for each in found) + path.endswith("/*")
    if any(mark in rest for mark in "{}*") or len(names) != len(set(names)) or spans > 1:
        raise InputError(
            field,
            f"{path!r} is not a pattern",
            fix="fields are {name}, each once, and one {name:path}, or * as the last segment",
        )
    return frozenset(names)


def check_protected(field: str, pattern: str) -> str:
    """Return a pattern that says what is guarded; raises ``InputError`` naming ``field``."""
    path_fields(pattern, field=field)
    if pattern.endswith("/") and pattern != "/":
        raise InputError(
            field, f"{pattern!r} guards that very path alone", fix=f"write '{pattern}*'"
        )
    return pattern
