"""Cases that are no requests: what is called in Python, written into settings, or typed.

One table of patterns of what a case says, and the functions that do it. Each returns texts in which
no secret may stand, or asserts by itself what it is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keybound import Guard, Settings
from keybound.core.errors import KeyboundError
from keybound.engine import Engine
from keybound.stores import open_store
from keybound.testing import FakeClock
from tests.security import also, settings_of
from tests.security.extras import take_apart
from tests.security.outcomes import NotReplayableError
from tests.security.python_calls import PYTHON
from tests.security.settings_of import SETTINGS
from tests.security.texts import member
from tests.security.typed import typed
from tests.security.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.core.issuing import IssuedKey
    from tests.security.cases import Case
    from tests.security.replay import Tools


@dataclass(slots=True)
class Calls:
    """What calls work with: a guard over an empty store in memory, and the secrets that there are.

    ``texts`` is what they gave.
    """

    case: Case
    tools: Tools
    guard: Guard
    secrets: list[str] = field(default_factory=lambda: [SECRET])
    texts: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def issue(self, **options: Any) -> IssuedKey:
        """Issue a key of acme, whose secret is looked for from then on."""
        given: dict[str, Any] = {"name": "a key", "tenant": "acme"} | options
        issued = self.guard.issue(**given)
        self.secrets.append(issued.secret.reveal())
        return issued

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self.guard.list())

    def raised(self, error: BaseException | None) -> None:
        """Keep everything that an exception says, and those that it comes from."""
        while error is not None:
            self.texts += [repr(error), *getattr(error, "__notes__", ())]
            error = error.__cause__ or error.__context__

    def check(self) -> None:
        """Assert that nothing that was given holds a secret."""
        for given in self.texts:
            for secret in self.secrets:
                random = secret.rpartition("_")[2][:24]
                assert random not in given, "a secret was given away"


def call(case: Case, tools: Tools) -> None:
    """Do what a case calls, and assert what it expects of that."""
    asked = case.request.get("call")
    listed = asked if isinstance(asked, list) else [asked]
    for extra in case.expected.also:
        _known(extra)
    calls = Calls(case, tools, _guard(open_store("memory://")))
    calls.guard.open()
    before = calls.count()
    try:
        for each in listed:
            if case.expected.decision == "reject":
                _rejected(calls, each)
            else:
                _do(calls, each)
        calls.check()
        if "nothing_created" in case.expected.also:
            assert calls.count() <= before + calls.facts.get("made", 0), "something was created"
    finally:
        calls.guard.close()


def _known(extra: str) -> None:
    name = take_apart(extra).name
    if name in also.OF_CALLS:
        return
    if name not in also.CHECKERS:
        msg = f"nobody knows the expectation {extra!r}"
        raise NotReplayableError(msg)
    if name == "no_secret_in_spans":
        also.CHECKERS[name](take_apart(extra), None, None)  # type: ignore[arg-type]


def _guard(store: Any, **settings: Any) -> Guard:
    chosen = Settings(secret=SECRET, **settings)  # type: ignore[arg-type]
    return Guard(Engine(chosen, store, FakeClock(), background=False))


def _do(calls: Calls, asked: object) -> None:
    if isinstance(asked, str):
        for pattern, function in PYTHON.items():
            found = re.fullmatch(pattern, asked, re.DOTALL)
            if found:
                function(calls, *found.groups())
                return
    if isinstance(asked, dict):
        for name, value in asked.items():
            if name in CONFIG:
                CONFIG[name](calls, value)
                return
    msg = f"nobody knows the call {asked!r}"
    raise NotReplayableError(msg)


def _rejected(calls: Calls, asked: object) -> None:
    """Assert that what is asked is refused, by an error of ours that says what to do."""
    try:
        _do(calls, asked)
    except KeyboundError as error:
        calls.raised(error)
        return
    msg = "it was not refused"
    raise AssertionError(msg)


# ---------------------------------------------------------------------------------------- settings

_LIMITS = {"ips": "networks", "ips_deny": "networks", "models": "models", "scopes": "scopes"}
_PLAIN = ("name", "tenant", "owner", "parent", "groups")


def _create_key(calls: Calls, given: Mapping[str, Any]) -> None:
    """Issue a key with limits as somebody wrote them; where each must be refused, one by one."""
    limits: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name in _PLAIN:
            options[name] = value
        else:
            limits[_LIMITS.get(name, name)] = member(name, value, None)  # type: ignore[arg-type]
    if "each_rejected" in calls.case.expected.also:
        for name, values in limits.items():
            for value in values:
                _refused(calls, {name: [value]}, value)
    calls.issue(limits=limits, **options)


def _refused(calls: Calls, limits: Mapping[str, Any], value: object) -> None:
    try:
        calls.issue(limits=limits)
    except KeyboundError as error:
        calls.raised(error)
        return
    msg = f"{value!r} was not refused"
    raise AssertionError(msg)


_SETTINGS = {
    "pepper": "secret",
    "secret": "secret",
    "prefix": "prefix",
    "environment": "environment",
}


def _settings(_calls: Calls, given: Mapping[str, Any]) -> None:
    """Make settings; what has no counterpart here cannot be wrong here."""
    made = {_SETTINGS[name]: value for name, value in given.items() if name in _SETTINGS}
    made |= settings_of.chosen({k: v for k, v in given.items() if k in SETTINGS}).settings
    if not made:
        msg = f"no setting of ours is for {', '.join(given)}"
        raise NotReplayableError(msg)
    Settings.load(made)


CONFIG: dict[str, Callable[[Calls, Any], None]] = {
    "argv": typed,
    "create_key": _create_key,
    "settings": _settings,
}
