"""What is changed: keys, groups and parents, each in the ways in which it can end and come back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keybound.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keybound import Guard
    from keybound.core.issuing import IssuedKey
    from keybound.core.lifecycle import Receipt

AGAIN_AFTER = 0.02
"""Seconds until a change that could not be made is made again."""


@dataclass(slots=True, kw_only=True, eq=False)
class Subject:
    """A node that is changed, and the keys that it decides over, by their numbers."""

    kind: str
    node: str
    keys: dict[int, str] = field(repr=False)
    accepted: bool = True
    """Whether its keys are, by the last change of it."""
    free_at: float = 0.0
    """When nobody watches it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of change: what is made first, how it ends, and how it comes back, if it does."""

    make: Callable[[Guard], tuple[str, list[IssuedKey]]]
    end: Callable[[Guard, str], Receipt]
    back: Callable[[Guard, str], Receipt] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that was made, as revision ``rev``.

    It was committed at some moment from ``asked`` to ``answered``. ``committed`` is when the
    database began to; others may have seen it later.
    """

    fault: str
    aim: int | None
    full_load: bool
    kind: str
    keys: tuple[int, ...]
    accepted: bool
    asked: float
    answered: float
    rev: int
    committed: float
    attempts: int
    announced: bool


def _key(guard: Guard) -> tuple[str, list[IssuedKey]]:
    issued = guard.issue(name="chaos")
    return issued.id, [issued]


def _group(guard: Guard) -> tuple[str, list[IssuedKey]]:
    group = guard.create_group(name="chaos").node.id
    return group, [guard.issue(name="chaos", groups=[group]) for _ in range(2)]


def _parent(guard: Guard) -> tuple[str, list[IssuedKey]]:
    parent = guard.issue(name="chaos")
    return parent.id, [parent, guard.issue(name="chaos", parent=parent.id)]


KINDS: dict[str, Kind] = {
    "revoke": Kind(make=_key, end=lambda guard, node: guard.revoke(node)),
    "disable": Kind(
        make=_key,
        end=lambda guard, node: guard.disable(node),
        back=lambda guard, node: guard.enable(node),
    ),
    "restrict": Kind(
        make=_key,
        end=lambda guard, node: guard.restrict(node, {"methods": ["POST"]}),
        back=lambda guard, node: guard.update(node, limits={"methods": "*"}),
    ),
    "disable group": Kind(
        make=_group,
        end=lambda guard, node: guard.disable(node),
        back=lambda guard, node: guard.enable(node),
    ),
    "disable parent": Kind(
        make=_parent,
        end=lambda guard, node: guard.disable(node),
        back=lambda guard, node: guard.enable(node),
    ),
}


def make(guard: Guard, subject: Subject, *, until: float) -> tuple[Receipt, float, float, int]:
    """Make the next change of a subject, again and again until it is made.

    Returns the receipt, when it was first asked for, when it was answered, and the attempts.
    """
    kind = KINDS[subject.kind]
    work = kind.end if subject.accepted else kind.back
    assert work is not None
    asked, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        try:
            receipt = work(guard, subject.node)
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN_AFTER)
        else:
            return receipt, asked, time.monotonic(), attempts
