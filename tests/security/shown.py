"""Objects that cases show, and the ways to show them: what a case writes is an expression.

``repr(issued)``, ``'%s' % issued``, ``json.dumps(identity)`` and ``logging.info('%s', key)`` are
of one kind: names that are known here, put together as Python does it. Whatever comes of it, or is
raised by it, must hold no secret.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import logging
import pickle
from pprint import pformat
from typing import TYPE_CHECKING, Any

import msgspec

from keybound import Settings
from keybound.core.decision import Allowed
from keybound.core.errors import KeyboundError
from keybound.stores import open_store
from keybound.wsgi import APIKeyMiddleware
from tests.security.outcomes import NotReplayableError
from tests.security.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.calls import Calls

DSN_PASSWORD = "hunter2hunter2"


def show(calls: Calls, written: str) -> None:
    """Evaluate what a case shows; raises ``NotReplayableError`` for names that nobody knows."""
    try:
        tree = ast.parse(written, mode="eval")
    except SyntaxError:
        msg = f"nobody knows the call {written!r}"
        raise NotReplayableError(msg) from None
    names = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    if not names & OBJECTS.keys() or names - OBJECTS.keys() - WAYS.keys():
        msg = f"nobody knows the call {written!r}"
        raise NotReplayableError(msg)
    known: dict[str, Any] = {name: OBJECTS[name](calls) for name in names & OBJECTS.keys()}
    try:
        value = eval(compile(tree, "a case", "eval"), {"__builtins__": {}, **WAYS, **known})  # noqa: S307 - names of the two tables alone
        calls.texts.append(str(value))
    except (TypeError, AttributeError, ValueError, KeyboundError, pickle.PickleError) as error:
        calls.raised(error)


def issued_of(calls: Calls) -> Any:
    """Return the one key that a case issues."""
    if "issued" not in calls.facts:
        calls.facts["issued"] = calls.issue()
    return calls.facts["issued"]


def identity_of(calls: Calls) -> Any:
    """Return who is calling with that key."""
    decision = _decision(calls)
    assert isinstance(decision, Allowed)
    return decision.identity


def _decision(calls: Calls) -> Any:
    value = b"Bearer " + issued_of(calls).secret.reveal().encode()
    return calls.guard.authorize("GET", "/", None, value)


def _with_password(calls: Calls) -> Settings:
    calls.secrets.append(f"x_{DSN_PASSWORD}")
    url = f"postgresql://user:{DSN_PASSWORD}@127.0.0.1/keys"
    redis = f"redis://user:{DSN_PASSWORD}@127.0.0.1/0"
    return Settings(secret=SECRET, database=url, redis=redis)  # type: ignore[arg-type]


def _error(calls: Calls) -> KeyboundError:
    """Return what is raised where a key stands for its id."""
    try:
        calls.guard.show(issued_of(calls).secret.reveal())
    except KeyboundError as error:
        return error
    msg = "a secret names a key"
    raise AssertionError(msg)


OBJECTS: dict[str, Callable[[Calls], Any]] = {
    "cache": lambda calls: calls.guard.engine.cache,
    "config": _with_password,
    "decision": _decision,
    "engine": lambda calls: calls.guard.engine,
    "error": _error,
    "exception": _error,
    "guard": lambda calls: calls.guard,
    "identity": identity_of,
    "issued": issued_of,
    "key": lambda calls: issued_of(calls).key,
    "limits": lambda calls: issued_of(calls).key.limits,
    "middleware": lambda calls: APIKeyMiddleware(_nobody, calls.guard),
    "record": lambda calls: calls.guard.show(issued_of(calls).id),
    "secret": lambda calls: issued_of(calls).secret,
    "settings": _with_password,
    "store": lambda calls: open_store(_with_password(calls).database),
}


def _nobody(_environ: Any, _start_response: Any) -> list[bytes]:
    """Be an application that is never called."""
    return []


class Way:
    """A way to show something, by its own name and as any function of the module of that name."""

    def __init__(self, show: Callable[..., Any]) -> None:
        """Show by this function."""
        self._show = show

    def __call__(self, *shown: Any, **_how: Any) -> Any:
        """Show something; how is for the module to say."""
        return self._show(*shown)

    def __getattr__(self, _name: str) -> Way:
        """Return the way itself: ``dumps``, ``deepcopy`` and ``info`` are all of the same kind."""
        return self


def _as_json(value: object) -> list[str]:
    """Write an object as JSON, and its text, which somebody writes who cannot do the former."""
    return [json.dumps(repr(value)), msgspec.json.encode(value).decode()]


def _logged(first: object, *more: object) -> str:
    """Log something, as part of a text or by itself: whoever listens to the log looks into it."""
    text, values = (first, more) if isinstance(first, str) else ("%s", (first, *more))
    logging.getLogger("keybound.cases").warning(text, *values)
    return ""


WAYS: dict[str, Any] = {
    "ascii": ascii,
    "asdict": dataclasses.asdict,
    "bytes": bytes,
    "copy": Way(copy.deepcopy),
    "deepcopy": copy.deepcopy,
    "dict": dict,
    "dir": dir,
    "format": format,
    "hash": hash,
    "iter": iter,
    "json": Way(_as_json),
    "list": list,
    "log": Way(_logged),
    "logger": Way(_logged),
    "logging": Way(_logged),
    "msgspec": Way(_as_json),
    "pickle": Way(pickle.dumps),
    "pprint": Way(pformat),
    "print": str,
    "repr": repr,
    "sorted": sorted,
    "str": str,
    "tuple": tuple,
    "vars": vars,
}
