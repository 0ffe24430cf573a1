"""Cases that are no requests: what is called in Python, written into settings, or typed.

One table of patterns of what a case says, and the functions that do it. Each returns texts in which
no secret may stand, or asserts by itself what it is about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from keybound import Guard, Settings
from keybound.core.errors import KeyboundError
from keybound.engine import Engine
from keybound.stores import open_store
from keybound.testing import FakeClock
from tests.security import also, settings_of, spans
from tests.security.extras import take_apart
from tests.security.keyring import Secrets
from tests.security.outcomes import NotReplayableError, Outcome, said_by
from tests.security.python_calls import PYTHON
from tests.security.records import networks_of
from tests.security.settings_of import SETTINGS
from tests.security.shown import show
from tests.security.texts import member
from tests.security.typed import typed
from tests.security.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keybound.core.issuing import IssuedKey
    from tests.security.cases import Case
    from tests.security.logs import Log
    from tests.security.replay import Tools


@dataclass(slots=True)
class Calls:
    """What calls work with: a guard over an empty store in memory, and the secrets that there are.

    ``texts`` is what they gave.
    """

    case: Case
    tools: Tools
    guard: Guard
    log: Log
    secrets: list[str] = field(default_factory=lambda: [SECRET])
    texts: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """What checkers are given of a call: it has no answer."""
        return Outcome(decision=self.case.expected.decision, status=None, reason=None)

    @property
    def words(self) -> Secrets:
        """What placeholders stand for."""
        if "words" not in self.facts:
            self.facts["words"] = Secrets(self.guard.engine.format, self.guard.engine.peppers)
        return cast("Secrets", self.facts["words"])

    def issue(self, **options: Any) -> IssuedKey:
        """Issue a key of acme, whose secret is looked for from then on."""
        given: dict[str, Any] = {"name": "a key", "tenant": "acme"} | options
        issued = self.guard.issue(**given)
        self.secrets.append(issued.secret.reveal())
        return issued

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self.guard.list())

    def raised(self, error: BaseException) -> None:
        """Keep everything that an exception says, and those that it comes from."""
        self.texts += said_by(error)

    def check(self) -> None:
        """Assert that nothing that was given holds a secret."""
        for given in self.texts:
            for secret in self.secrets:
                random = secret.rpartition("_")[2][:24]
                assert random not in given, "a secret was given away"


def call(case: Case, tools: Tools, log: Log) -> None:
    """Do what a case calls, and assert what it expects of that; ``log`` is what is logged of it."""
    asked = case.request.get("call")
    listed = asked if isinstance(asked, list) else [asked]
    for extra in case.expected.also:
        _known(extra)
    calls = Calls(case, tools, _guard(open_store("memory://")), log)
    calls.guard.open()
    before = calls.count()
    traced = "no_secret_in_spans" in case.expected.also
    if traced:
        spans.listen(calls.guard.engine)
    try:
        for each in listed:
            with spans.span():
                _ask(calls, each)
        if traced:
            calls.texts += spans.heard()
        calls.check()
        for written in map(take_apart, case.expected.also):
            if written.name in also.OF_LOGS:
                also.OF_LOGS[written.name](written, calls, calls.outcome)
        if "nothing_created" in case.expected.also:
            assert calls.count() <= before + calls.facts.get("made", 0), "something was created"
    finally:
        calls.guard.close()


def _is_typed(asked: object) -> bool:
    """Return whether a call is a command, which says by its exit status whether it was refused."""
    return isinstance(asked, dict) and "argv" in asked


def _ask(calls: Calls, asked: object) -> None:
    if calls.case.expected.decision == "reject" and not _is_typed(asked):
        _rejected(calls, asked)
    else:
        _do(calls, asked)


def _known(extra: str) -> None:
    """Raise ``NotReplayableError`` for what nothing here asserts of a call.

    What must not be in an answer, or reach an application, does not: a call has neither.
    """
    name = take_apart(extra).name
    has_not = name in also.CHECKERS and (name.startswith("no_") or name == "app_not_called")
    if not has_not and name not in also.OF_CALLS | also.OF_LOGS.keys():
        msg = f"nobody knows the expectation {extra!r} of a call"
        raise NotReplayableError(msg)


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
        show(calls, asked)
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

_LIMITS = {"ips": "networks"}
_PLAIN = frozenset({"name", "tenant", "owner", "parent", "groups", "role", "metadata"})


def _create_key(calls: Calls, given: Mapping[str, Any]) -> None:
    """Issue a key with limits as somebody wrote them; where each must be refused, one by one."""
    made = {name: member(name, value, calls.words) for name, value in given.items()}
    if made.get("ips_deny") is not None:
        made["ips"] = networks_of(made)
        del made["ips_deny"]
    options = {name: value for name, value in made.items() if name in _PLAIN}
    limits = {_LIMITS.get(name, name): made[name] for name in made.keys() - _PLAIN}
    if "each_rejected" in calls.case.expected.also:
        for name, values in limits.items():
            for value in values if isinstance(values, list) else [values]:
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


def _settings(calls: Calls, given: Mapping[str, Any]) -> None:
    """Make settings; what no setting of ours is for stands by its own name, and is refused."""
    written = {name: member("", value, calls.words) for name, value in given.items()}
    known = {name for name, put in SETTINGS.items() if put is not settings_of.always}
    made = {_SETTINGS.get(name, name): written[name] for name in written.keys() - known}
    made |= settings_of.chosen({k: v for k, v in written.items() if k in known}).settings
    Settings.load(made)


CONFIG: dict[str, Callable[[Calls, Any], None]] = {
    "argv": typed,
    "create_key": _create_key,
    "settings": _settings,
}
