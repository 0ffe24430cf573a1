"""Fails every test in which a key reaches a place where no key may be, and says which place.

A pytest plugin of this project. What is a key is known twice: every key that this process makes is
noted, and whatever else has the shape and the checksum of one was made by another process. Looked
at are log records (of every logger and level, shown or not), warnings, errors that leave the tests
or are expected by them, local variables of our own frames in tracebacks that are shown or logged,
what OpenTelemetry is told, what is printed, files of SQLite, and whatever else a fixture hands to
``look``.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _pytest.raises
import pytest

import keybound
from keybound.core.errors import SettingsError
from keybound.core.keys import KeyFormat

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import TracebackType

OURS = str(Path(keybound.__file__).parent)
"""Where the files are whose frames are looked into."""

LEAKS: list[str] = []
"""What was found since the last test, without the keys."""

LEAKED = pytest.StashKey[bool]()
"""Set for a test in whose time something was found: for that there is no excuse."""

_BODY = 38
_WIRES = ("hpack", "uvicorn", "websockets")
"""What these log at DEBUG is what went over the wire, and nobody but they can help that."""

_REQUESTS = frozenset({"request"})
"""What Django and Flask add to a record is the request itself, with whatever its client sent."""

_PART = 24
"""How much of a key is as bad as all of it: the rest can be guessed."""

_RUN = re.compile(r"[0-9A-Za-z]{24,}")
_SHAPE = re.compile(r"(?=(([a-z][a-z0-9]{0,15})_([a-z][a-z0-9]{0,15})_[0-9A-Za-z]{38}))")
_SHOWN = 60

_parts: set[str] = set()

is_enabled = logging.Logger.isEnabledFor
"""Whether a record is wanted: what tests of that put back, since meanwhile all of them are made."""


def look(where: str, *things: object) -> None:
    """Note a leak for every one of these in which there is a key."""
    for thing in things:
        text = _text(thing)
        for start, end in _keys(text):
            around = f"{text[max(0, start - _SHOWN) : start]}<key>{text[end : end + _SHOWN]}"
            LEAKS.append(f"{where}: {around!r}")


def look_at_error(where: str, error: BaseException | None, *, frames: bool) -> None:
    """Look at an error, its notes and its causes, and perhaps at locals of our own frames."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        notes = getattr(error, "__notes__", ())
        look(f"{where}, {type(error).__name__}", error, str(error), error.args, *notes)
        if frames:
            _look_at_frames(where, error.__traceback__)
        error = error.__cause__ or error.__context__


def _look_at_frames(where: str, at: TracebackType | None) -> None:
    while at is not None:
        code = at.tb_frame.f_code
        if code.co_filename.startswith(OURS):
            for name, value in at.tb_frame.f_locals.items():
                look(f"{where}, {name} in {code.co_qualname}", value)
        at = at.tb_next


def _text(thing: object) -> str:
    if isinstance(thing, str):
        return thing
    if isinstance(thing, (bytes, bytearray)):
        return thing.decode("latin-1")
    try:
        return repr(thing)
    except Exception as error:  # noqa: BLE001 - of whatever a test passes around
        return type(error).__name__


def _keys(text: str) -> Iterator[tuple[int, int]]:
    """Yield where keys are, and large parts of keys of this process."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if any(text[at : at + _PART] in _parts for at in range(start, end - _PART + 1)):
            yield start, end
    for shape in _SHAPE.finditer(text):
        with suppress(SettingsError):
            body = shape[1][-_BODY:]
            if body[:_PART] not in _parts and KeyFormat(shape[2], shape[3]).recognises(shape[1]):
                yield shape.end(1) - _BODY, shape.end(1)


# ------------------------------------------------------------------------------------ the hooks


def pytest_configure(config: pytest.Config) -> None:
    """Begin to look."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    _note_keys(patch)
    _look_at_logs(patch)
    _look_at_warnings(patch)
    _look_at_expected_errors(patch)
    _look_at_measurements(patch)


def _note_keys(patch: pytest.MonkeyPatch) -> None:
    generate = KeyFormat.generate

    @wraps(generate)
    def noting(self: KeyFormat, entropy: bytes) -> Any:
        secret = generate(self, entropy)
        body = secret.reveal()[-_BODY:]
        _parts.update(body[at : at + _PART] for at in range(_BODY - _PART + 1))
        return secret

    patch.setattr(KeyFormat, "generate", noting)


def _look_at_logs(patch: pytest.MonkeyPatch) -> None:
    """Let every record be made, look at it, and drop those that nobody wants."""
    handle = logging.Logger.handle

    @wraps(handle)
    def looking(self: logging.Logger, record: logging.LogRecord) -> None:
        if not (record.levelno <= logging.DEBUG and record.name.startswith(_WIRES)):
            look_at_record(record)
        if is_enabled(self, record.levelno):
            handle(self, record)

    patch.setattr(logging.Logger, "isEnabledFor", lambda _self, _level: True)
    patch.setattr(logging.Logger, "handle", looking)


def look_at_record(record: logging.LogRecord) -> None:
    """Look at all that a handler may do with a log record."""
    where = f"a log record of {record.name}"
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - the handlers say so
        message = ""
    held = {name: value for name, value in vars(record).items() if name not in _REQUESTS}
    look(where, message, *held.values())
    if record.exc_info:
        look_at_error(where, record.exc_info[1], frames=True)


def _look_at_warnings(patch: pytest.MonkeyPatch) -> None:
    """Look at those that are shown or recorded; those that are errors are looked at as such."""
    begin = warnings.WarningMessage.__init__

    @wraps(begin)
    def looking(self: warnings.WarningMessage, message: Any, *given: Any, **named: Any) -> None:
        begin(self, message, *given, **named)
        if sys._getframe(1).f_code.co_name == "formatwarning":  # noqa: SLF001 - seen before
            return
        look("a warning", message, str(message), getattr(message, "args", ()))

    patch.setattr(warnings.WarningMessage, "__init__", looking)


def _look_at_expected_errors(patch: pytest.MonkeyPatch) -> None:
    end = _pytest.raises.RaisesExc.__exit__

    @wraps(end)
    def looking(self: Any, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        look_at_error("an expected error", error, frames=False)
        return end(self, kind, error, traceback)

    patch.setattr(_pytest.raises.RaisesExc, "__exit__", looking)


def _look_at_measurements(patch: pytest.MonkeyPatch) -> None:
    with suppress(ModuleNotFoundError):
        from opentelemetry import metrics

        get = metrics.get_meter
        patch.setattr(metrics, "get_meter", lambda *given, **named: Looking(get(*given, **named)))


class Looking:
    """A meter that looks at all that its instruments are told, or hear from whom they ask."""

    def __init__(self, of: Any) -> None:
        """Stand before a meter, or an instrument of it."""
        self._of = of

    def __getattr__(self, name: str) -> Any:
        """Return a method that looks at what it is given."""
        method = getattr(self._of, name)

        def looking(*given: Any, **named: Any) -> Any:
            look("a measurement", *given, *named.values())
            made = method(*map(_asking, given), **named)
            return Looking(made) if name.startswith("create_") else made

        return looking


def _asking(given: Any) -> Any:
    """Return functions that an instrument asks as those that look at what they answer."""
    return [_looking_at(each) for each in given] if isinstance(given, list) else given


def _looking_at(callback: Any) -> Any:
    @wraps(callback)
    def asked(options: Any) -> Iterator[Any]:
        for each in callback(options):
            look("a measurement", each.value, each.attributes)
            yield each

    return asked


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Look into every file of SQLite that a test leaves, before it is gone."""
    folder: Path | None = getattr(item, "funcargs", {}).get("tmp_path")
    for path in folder.rglob("*.db*") if folder is not None else ():
        if path.is_file():
            look(f"the file {path.name}", path.read_bytes())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test for what was found during it."""
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, Exception) and not isinstance(error, AssertionError):  # not a test's own
        look_at_error("an error", error, frames=True)
    report = yield
    for title, text in report.sections:
        look(title, text)
    if LEAKS:
        found = "\n".join(["a key is where none may be:", *dict.fromkeys(LEAKS)])
        LEAKS.clear()
        item.stash[LEAKED] = True
        if report.outcome == "passed":
            report.outcome, report.longrepr = "failed", found
        else:
            report.sections.append((f"Leaks in {item.nodeid}", found))
    return report
