"""The one way in which settings and routes spell a choice: ``name`` or ``name(argument, ...)``."""

from __future__ import annotations

import re

from keybound.core.errors import InputError

_CALL = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9_-]*)[ \t]*(?:\(([^()]*)\)[ \t]*)?", re.ASCII)
_PRINTABLE = re.compile(r"[\x21-\x7e]+(?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)


def read_call(field: str, text: str) -> tuple[str, tuple[str, ...]]:
    """Return the name and its arguments, without the blanks around them.

    Arguments are printable ASCII without commas and parentheses, and none is empty. Raises
    ``InputError`` naming ``field``.
    """
    found = _CALL.fullmatch(text)
    if found is None:
        raise InputError(field, f"cannot read {text!r}", fix="write name or name(argument)")
    name, inside = found[1], found[2]
    if inside is None:
        return name, ()
    arguments = tuple(part.strip(" \t") for part in inside.split(","))
    if not all(_PRINTABLE.fullmatch(argument) for argument in arguments):
        raise InputError(
            field,
            f"{text!r} has an argument that is empty or no plain ASCII",
            fix=f"write {name} or {name}(argument)",
        )
    return name, arguments
