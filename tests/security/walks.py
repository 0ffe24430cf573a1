"""Keys and their children under random changes: a child never does what its parent may not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from keybound import Guard, Settings
from keybound.core.decision import Allowed
from keybound.core.errors import KeyboundError
from keybound.engine import Engine
from keybound.stores import open_store
from keybound.testing import FakeClock
from tests.security.worlds import SECRET

if TYPE_CHECKING:
    from tests.security.calls import Calls

WALKS, STEPS = 12, 25


def walk(calls: Calls, _what: str) -> None:
    """Issue, narrow and change keys at random: a child never does what its parent may not."""
    chance = random.Random(7)
    for _ in range(WALKS * (10 if calls.tools.full else 1)):
        guard = Guard(
            Engine(Settings(secret=SECRET), open_store("memory://"), FakeClock(), background=False)  # type: ignore[arg-type]
        )
        _walk_once(guard, chance)
        guard.close()


def _walk_once(guard: Guard, chance: random.Random) -> None:
    family = [guard.issue(name="parent", tenant="acme", limits=_some_limits(chance))]
    above: dict[str, Any] = {}
    for _ in range(STEPS):
        whose = chance.choice(family)
        try:
            match chance.randrange(4):
                case 0:
                    options = {"parent": whose.id, "limits": _some_limits(chance)}
                    child = guard.issue(name="child", **options)  # type: ignore[arg-type]
                    above[child.id] = whose
                    family.append(child)
                case 1:
                    guard.restrict(whose.id, _some_limits(chance))
                case 2:
                    guard.update(whose.id, limits=_some_limits(chance))
                case _:
                    chance.choice((guard.disable, guard.enable))(whose.id)
        except KeyboundError:
            continue
        for child in family[1:]:
            _check_no_wider(guard, child, above[child.id], chance)


def _some_limits(chance: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if chance.random() < 0.4:
        made["networks"] = chance.sample(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"], 2)
    if chance.random() < 0.4:
        made["methods"] = chance.sample(["GET", "POST", "PUT"], chance.randint(0, 3))
    if chance.random() < 0.3:
        made["read_only"] = True
    return made


def _check_no_wider(guard: Guard, child: Any, parent: Any, chance: random.Random) -> None:
    method = chance.choice(["GET", "POST", "PUT", "DELETE"])
    peer = chance.choice(["10.0.0.1", "10.1.0.1", "192.0.2.1", "203.0.113.7"])
    allowed = [
        isinstance(
            guard.authorize(method, "/", peer, b"Bearer " + key.secret.reveal().encode()), Allowed
        )
        for key in (child, parent)
    ]
    assert allowed != [True, False], f"a child may {method} and its parent may not"
