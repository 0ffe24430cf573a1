"""What the verbs of a guard take, all by keyword, and the same for both guards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

from keybound.core.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from keybound.core.limits import Limits


SentIn = Literal["header", "query", "cookie"]
"""Where a request carries its key."""


class KeyOptions(TypedDict, total=False):
    """What ``issue`` takes besides a name, all by keyword."""

    tenant: str | None
    owner: str | None
    role: str | None
    limits: Limits | Mapping[str, object]
    expires_in: str | float | timedelta
    parent: str | None
    groups: Sequence[str]
    rights: Sequence[str]
    metadata: Mapping[str, Any]


class IssueOptions(KeyOptions, total=False):
    """What ``issue`` takes, all by keyword."""

    name: Required[str]


class GroupOptions(TypedDict, total=False):
    """What ``create_group`` takes, all by keyword."""

    name: Required[str]
    tenant: str | None
    limits: Limits | Mapping[str, object]
    rights: Sequence[str]
    metadata: Mapping[str, Any]


class ChangeOptions(TypedDict, total=False):
    """What every change takes besides: ``wait`` returns when it holds everywhere."""

    if_revision: int
    wait: bool
    dry_run: bool


class UpdateOptions(ChangeOptions, total=False):
    """What ``update`` takes; a limit of ``*`` is taken away."""

    name: str
    tenant: str | None
    owner: str | None
    role: str | None
    metadata: Mapping[str, Any]
    limits: Limits | Mapping[str, object]
    expires_in: str | float | timedelta
    rights: Sequence[str]


class ListOptions(TypedDict, total=False):
    """What ``list`` takes: filters, and where to go on."""

    kind: str
    tenant: str
    parent: str
    after: str
    limit: int
    unused_for: str | float | timedelta


class ExplainOptions(TypedDict, total=False):
    """What ``explain`` may be told besides method and path. ``at`` is aware, a key in a header."""

    ip: str
    tenant: str
    model: str
    sent_in: SentIn
    at: datetime


def check_options(kind: type, given: Mapping[str, Any], *, needed: str | None = None) -> None:
    """Raise ``InputError`` for a keyword that a verb does not take, and for one that it needs.

    A misspelt limit must not make a key without that limit.
    """
    known = kind.__annotations__
    for name in given:
        if name not in known:
            raise InputError(name, "is nothing that this takes", fix=nearest(name, known))
    if needed is not None and needed not in given:
        raise InputError(needed, "is missing", fix=f"add {needed}=...")
