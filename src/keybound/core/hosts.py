"""Host names: what ``Host`` says, read in one way or not at all, and which tenants they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from keybound.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TENANT_LABEL = "{tenant}"

_HOST_MAX = 253
_PORT_MAX = 65_535
_VALUE_MAX = _HOST_MAX + len(".:65535")

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_VALUE = re.compile(rf"({_NAME.pattern})\.?(?::([0-9]{{1,5}}))?")
_NUMBER = re.compile(r"[0-9]+")
"""With this at its end, a name is an address."""


def read_host(value: bytes) -> str | None:
    """Return the name that a host header has, in lower case; ``None`` for anything but a name.

    A port and one dot at the end do not count (RFC 9110 section 7.2, RFC 1034 section 3.1).
    """
    return _read(value) if len(value) <= _VALUE_MAX else None


@lru_cache(maxsize=4_096)
def _read(value: bytes) -> str | None:
    found = _VALUE.fullmatch(value.decode("latin-1"))
    if found is None or len(found[1]) > _HOST_MAX:
        return None
    if found[2] is not None and not 0 < int(found[2]) <= _PORT_MAX:
        return None
    return None if _NUMBER.fullmatch(found[1].rpartition(".")[2]) else found[1].lower()


@dataclass(frozen=True, slots=True)
class Hosts:
    """Which tenant a host name is: exact names first, then names with one label for the tenant."""

    exact: Mapping[str, str]
    patterns: tuple[tuple[str, str], ...]
    """What stands before and behind the label."""

    @classmethod
    def parse(cls, named: Iterable[tuple[str, str | None]], *, field: str) -> Self:
        """Read names, each with the tenant that it is, or with ``{tenant}`` as a label of it.

        Raises ``InputError`` naming ``field``.
        """
        exact: dict[str, str] = {}
        patterns: dict[tuple[str, str], None] = {}
        for given, tenant in named:
            name = _checked(field, given, exact=tenant is not None)
            if tenant is None:
                before, _, behind = name.partition(TENANT_LABEL)
                patterns[before, behind] = None
            elif exact.setdefault(name, tenant) != tenant:
                raise InputError(
                    field, f"{name} is {exact[name]!r} and {tenant!r}", fix="write it once"
                )
        return cls(exact, tuple(patterns))

    def tenant(self, name: str) -> str | None:
        """Return the tenant, ``None`` where it is nobody's, or that of two patterns."""
        known = self.exact.get(name)
        if known is not None:
            return known
        found = {
            label
            for before, behind in self.patterns
            if name.startswith(before) and name.endswith(behind)
            for label in (name[len(before) : len(name) - len(behind)],)
            if label and "." not in label
        }
        return found.pop() if len(found) == 1 else None


def _checked(field: str, given: str, *, exact: bool) -> str:
    labels = given.split(".")
    name = ".".join("t" if label == TENANT_LABEL else label for label in labels).lower()
    wanted = 0 if exact else 1
    if labels.count(TENANT_LABEL) != wanted or not _NAME.fullmatch(name) or len(name) > _HOST_MAX:
        raise InputError(
            field,
            f"{given!r} is no host name" + ("" if exact else f" with one label {TENANT_LABEL}"),
            fix="write 'host({tenant}.api.example)', or 'host(api.example)=acme'",
        )
    if labels[-1] == TENANT_LABEL or _NUMBER.fullmatch(labels[-1]):
        raise InputError(
            field, f"{given!r} does not end with the name of a domain", fix="write it whole"
        )
    return given.lower()
