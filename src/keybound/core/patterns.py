"""Path patterns, and the templates that are filled from what they matched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keybound.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIELDS_MAX = 2
"""Fields of one segment; with more, finding where each ends takes too long."""

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}", re.ASCII)

_ENDING = re.compile(r"\*[/:.].+", re.DOTALL)
"""A pattern of how paths end: a segment, an action, or an extension."""


def compile_path(path: str, *, whole_branch: bool = False) -> re.Pattern[str]:
    """Return what a whole path must match, with its fields as named groups.

    ``whole_branch`` makes ``/v1/*`` match ``/v1`` as well, and ``/v1`` match ``/v1/``, which some
    routers take alike.
    """
    body, star = path.removesuffix("/*"), path.endswith("/*")
    start = ".*" if body.startswith("*") else ""
    pattern = start + "/".join(map(_segment, body.removeprefix("*").split("/")))
    if star:
        pattern += "(?:/.*)?" if whole_branch else "/.*"
    elif whole_branch:
        pattern += "/?"
    return re.compile(pattern, re.DOTALL)


def _segment(segment: str) -> str:
    pattern, at, fields = "", 0, 0
    for field in _FIELD.finditer(segment):
        pattern += re.escape(segment[at : field.start()])
        pattern += f"(?P<{field[1]}>{'.*' if field[2] else '[^/]+'})"
        at, fields = field.end(), fields + 1
    tail = re.escape(segment[at:])
    if fields < FIELDS_MAX:
        return pattern + tail
    # Where the first field ends is settled once, and only if the segment ends as it should:
    # trying each place for each place takes the square of the time.
    return rf"(?=[^/]*{tail}(?:/|\Z))(?>{pattern}{tail}(?=/|\Z))"


def fixed_start(path: str) -> str:
    """Return what every path that a pattern matches begins with."""
    return "/" if path.startswith("*") else path.removesuffix("/*").partition("{")[0]


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
    start = "/x" if body.startswith("*") else ""
    return start + _FIELD.sub("x", body.removeprefix("*"))


def may_meet(one: str, other: str) -> bool:
    """Return whether some path may match both patterns; in doubt it may."""
    ours, theirs = one.split("/"), other.split("/")
    if one.startswith("*") or other.startswith("*"):
        return _ends_meet(ours, theirs)
    for our, their in zip(ours, theirs, strict=False):
        if _spans(our) or _spans(their):
            return True
        if our != their and "{" not in our + their:
            return False
    longer = ours if len(ours) > len(theirs) else theirs
    rest = longer[min(len(ours), len(theirs)) :]
    return not rest or _spans(rest[0])


def _ends_meet(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Return whether what two patterns say of how paths end may hold together."""
    for our, their in zip(reversed(ours), reversed(theirs), strict=False):
        if not (our == their or _ends(our, their) or _ends(their, our)):
            return False
        if _spans(our) or _spans(their):
            return True
    return True


def _ends(one: str, other: str) -> bool:
    """Return whether a part of a pattern may stand for one that ends like the other."""
    return ("{" in one or _spans(one)) and _tail(other).endswith(_tail(one))


def _tail(segment: str) -> str:
    """Return the text with which a part of a path ends in any case."""
    return re.split(r"[*}]", segment)[-1]


def _spans(segment: str) -> bool:
    """Return whether a part of a pattern may stand for any number of segments."""
    return segment.startswith("*") or ":path}" in segment


def template_fields(template: str | None) -> list[str]:
    """Return the names of the fields that a template uses."""
    return [field[1] for field in _FIELD.finditer(template or "")]


def path_fields(path: object, *, field: str = "path") -> frozenset[str]:
    """Return the names of the fields of a path pattern; raises ``InputError`` naming ``field``.

    One part of a pattern may span segments, so that matching takes time in proportion to the path.
    """
    if not isinstance(path, str) or not (path.startswith("/") or _ENDING.match(path)):
        raise InputError(
            field,
            f"{path!r} does not start with a slash",
            fix="write '/v1/*', or '*/search', '*:search' or '*.json' for how paths end",
        )
    names = [each[1] for each in _FIELD.finditer(path)]
    rest = _FIELD.sub("", path.removesuffix("/*").removeprefix("*"))
    segments = path.split("/")
    if (
        any(mark in rest for mark in "{}*")
        or len(names) != len(set(names))
        or sum(map(_spans, segments)) > 1
    ):
        raise InputError(
            field,
            f"{path!r} is not a pattern",
            fix="fields are {name}, each once, and one of: {name:path}, * as the last segment, "
            "* before the end of a path",
        )
    for segment in segments:
        fields = len(_FIELD.findall(segment)) + segment.startswith("*")
        if fields > (1 if _spans(segment) else FIELDS_MAX):
            raise InputError(
                field,
                f"{path!r} has too many fields in {segment!r}",
                fix="a segment has two at most, and none beside one that spans segments",
            )
    return frozenset(names)


def check_protected(field: str, pattern: str) -> str:
    """Return a pattern that says what is guarded; raises ``InputError`` naming ``field``."""
    path_fields(pattern, field=field)
    if pattern.startswith("*"):
        raise InputError(
            field,
            f"{pattern!r} guards by how paths end, and leaves open what is beneath them",
            fix="guard a branch, as in '/v1/*', or '/*' and exempt the rest with routes",
        )
    if pattern.endswith("/") and pattern != "/":
        raise InputError(
            field, f"{pattern!r} guards that very path alone", fix=f"write '{pattern}*'"
        )
    return pattern
