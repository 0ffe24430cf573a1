"""What a case expects besides: one table of checkers, by the first word of each expectation.

An expectation is ``name``, ``name:argument`` or ``name<op>argument``. A name that nobody knows is a
case that cannot be replayed, never one that passes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.security.keyring import CANARY_FILE, MARK
from tests.security.outcomes import ComesLaterError, NotReplayableError
from tests.security.references import request_of
from tests.security.sending import sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.outcomes import Outcome
    from tests.security.replay import Replay
    from tests.shells.calls import Answer

DOCS = Path(__file__).parents[2] / "docs"

_FORM = re.compile(r"(?P<name>[a-z][a-z0-9_.]*)(?:(?P<op><=|>=|[:=<>])(?P<argument>.*))?", re.DOTALL)

TRIES = 5
"""How often a request is sent again that took too long: a machine is busy now and then."""


class Extra(NamedTuple):
    """One expectation, taken apart."""

    name: str
    op: str
    argument: str


def take_apart(text: str) -> Extra:
    """Return the parts of an expectation; raises ``NotReplayableError`` if it has none."""
    found = _FORM.fullmatch(text)
    if found is None:
        msg = f"nobody can read the expectation {text!r}"
        raise NotReplayableError(msg)
    return Extra(found["name"], found["op"] or "", found["argument"] or "")


def check(text: str, replay: Replay, outcome: Outcome) -> None:
    """Assert one expectation; raises ``NotReplayableError`` for one that nobody knows."""
    extra = take_apart(text)
    if extra.name.startswith("identity."):
        _identity(extra, replay, outcome)
        return
    if extra.name not in CHECKERS:
        msg = f"nobody knows the expectation {text!r}"
        raise NotReplayableError(msg)
    CHECKERS[extra.name](extra, replay, outcome)


# -------------------------------------------------------------------------------- who is calling

_FIELDS = {"key": "key_id", "id": "key_id"}


def _identity(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    field = extra.name.removeprefix("identity.")
    if field == "absent":
        assert outcome.identity is None, "there is an identity"
        return
    allowed = extra.argument.split("|")
    if outcome.identity is None:
        assert "denied" in allowed, "there is no identity"
        return
    if field == "model":
        match = replay.place.engine.table.match(replay.each.method, replay.each.path)
        assert match is not None
        assert match.model == extra.argument, "another model"
        assert outcome.identity.permits(model=extra.argument, access=match.access)
        return
    if not hasattr(outcome.identity, _FIELDS.get(field, field)):
        msg = f"an identity has no {field}"
        raise NotReplayableError(msg)
    value = getattr(outcome.identity, _FIELDS.get(field, field))
    assert _told(value) in allowed, f"{field} is {value!r}"


def _told(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return ",".join(sorted(str(each) for each in value))
    return str(value)


def _no_secret_in_identity(_: Extra, replay: Replay, outcome: Outcome) -> None:
    scope = {**(outcome.served[-1] if outcome.served else {})}
    shown = repr(outcome.identity) + repr(scope.get("keybound")) + repr(scope.get("auth"))
    assert MARK not in shown
    assert replay.place.secrets.digest("K1").hex() not in shown


def _forged_unseen(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Nothing that looks like an identity of ours comes from the client."""
    for seen in outcome.served:
        assert not any(b"x-keybound" in name for name, _ in seen.get("headers", ()))
        assert not any(name.startswith("HTTP_X_KEYBOUND") for name in seen)


# ------------------------------------------------------------------------------------ the answer


def _answer(outcome: Outcome) -> Answer | None:
    """Return the answer, ``None`` where there is no shell that gives one."""
    return outcome.answer


def _header(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    name, _, value = extra.argument.partition("=")
    if (answer := _answer(outcome)) is not None:
        assert value in answer.all(name.lower()), f"{name} is {answer.all(name.lower())}"


def _header_contains(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    name, _, value = extra.argument.partition(":")
    if (answer := _answer(outcome)) is not None:
        lines = " ".join(answer.all(name.lower()))
        assert value.lower() in lines.lower(), f"{name} is {lines}"


def _header_present(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Where the name ends with a question mark, the header may also be missing."""
    if extra.argument.endswith("?"):
        return
    if (answer := _answer(outcome)) is not None:
        assert answer.all(extra.argument.lower()), f"{extra.argument} is missing"


def _header_absent(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    if (answer := _answer(outcome)) is not None:
        assert not answer.all(extra.argument.lower()), f"{extra.argument} is there"


def _header_not_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    if (answer := _answer(outcome)) is not None:
        text = replay.text(extra.argument)
        assert text not in str(answer.headers), "a header repeats it"


def _body_not_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    if (answer := _answer(outcome)) is not None:
        assert replay.text(extra.argument).encode() not in answer.body, "the body holds it"


def _body_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    if (answer := _answer(outcome)) is not None:
        assert replay.text(extra.argument).encode() in answer.body, "the body lacks it"


def _no_reason_in_body(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    if (answer := _answer(outcome)) is not None:
        assert "reason" not in answer.problem


def _no_secret_in_body(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    if (answer := _answer(outcome)) is not None:
        assert MARK.encode() not in answer.body


def _same_response_as(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """Compare with another case's answer here: all but the sealed id is the same, byte for byte."""
    if (answer := _answer(outcome)) is None:
        return
    other = replay.send(sent(request_of(extra.argument, replay.cases), replay.place.secrets))
    assert other.answer is not None
    assert _comparable(answer) == _comparable(other.answer), "the answers differ"


_NOISE = frozenset({"keybound-denial", "date", "x-request-id", "request-id"})


def _comparable(answer: Answer) -> tuple[object, ...]:
    body = answer.body
    for name in _NOISE:
        for value in answer.all(name):
            body = body.replace(value.encode(), b"")
    lines = [(name.lower(), value) for name, value in answer.headers if name.lower() not in _NOISE]
    return answer.status, lines, body


def _below_500(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert outcome.status is not None
    assert outcome.status < 500, outcome.short  # noqa: PLR2004 - it is in the name


# ------------------------------------------------------------------------------- the application


def _not_called(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert not outcome.served, "the application was called"


def _called(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert outcome.facts.get("noted", {}).get("lifespan") or outcome.served


def _lifespan_complete(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    said = [each["type"] for each in outcome.facts["said"]]
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def _sees_no_header(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    name = extra.argument.lower()
    for seen in outcome.served:
        assert not any(each == name.encode() for each, _ in seen.get("headers", ()))
        assert "HTTP_" + name.upper().replace("-", "_") not in seen


def _body_identical(_: Extra, replay: Replay, outcome: Outcome) -> None:
    if outcome.served:
        assert outcome.facts["body"] == replay.each.body, "the application saw another body"


def _body_not_consumed(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert not outcome.facts.get("asked"), "the body was read"


def _first_before_last(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    if outcome.answer is not None and outcome.answer.messages:
        parts = [m for m in outcome.answer.messages if m["type"] == "http.response.body"]
        assert len(parts) >= 3, "the answer came in one part"  # noqa: PLR2004 - as many are sent
        assert all(part.get("more_body") for part in parts[:2])


def _saw_disconnect(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    if "noted" in outcome.facts:
        assert outcome.facts["noted"].get("disconnect"), "the application was not told"


def _closed_once(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    if "noted" in outcome.facts and "closed" in outcome.facts["noted"]:
        assert outcome.facts["noted"]["closed"] == 1


def _state_unchanged(_: Extra, replay: Replay, outcome: Outcome) -> None:
    if "scope" in outcome.facts:
        assert outcome.facts["scope"].get("state") == replay.each.scope["state"]


def _denial_response(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    if outcome.answer is not None:
        assert outcome.answer.messages[0]["type"] == "websocket.http.response.start"


def _no_event(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    if outcome.answer is not None:
        assert extra.argument not in {each["type"] for each in outcome.answer.messages}


def _close_code(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    if outcome.answer is not None:
        codes = [m.get("code") for m in outcome.answer.messages if m["type"] == "websocket.close"]
        assert [str(code) for code in codes][-1:] in [[each] for each in extra.argument.split("|")]


def _own_identity(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert outcome.facts.get("own_identity", True), "a request saw another one's identity"


# -------------------------------------------------------------------------------- store and time


def _no_lookup(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert outcome.loads == 0, "the store was asked"


def _record_from(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    if extra.argument not in {"sql", "store"}:
        msg = f"nobody knows where {extra.argument} is"
        raise NotReplayableError(msg)
    assert outcome.loads >= 1, "the store was not asked"


def _max_ms(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    taken, tries = outcome.seconds, 0
    while taken * 1_000 > float(extra.argument) and tries < TRIES:
        tries += 1
        taken = min(taken, replay.again().seconds)
    assert taken * 1_000 <= float(extra.argument), f"it took {taken * 1_000:.1f} ms"


def _within(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Assert what the run of the case did: it let that much time pass and no more."""
    assert replay.waited <= float(extra.argument)


def _no_code(_: Extra, _replay: Replay, _outcome: Outcome) -> None:
    assert not Path(CANARY_FILE).exists(), "a value of Redis was executed"


def _pool_whole(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Nothing is held that a cancelled request took: the next one is served."""
    replay.place.store.before_load = None
    assert replay.again().decision == "allow"


def _cache_unchanged(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    assert not replay.cached_after_cancel, "what a cancelled request read was kept"


# ------------------------------------------------------------------------------------------ logs


def _one_line(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    for line in replay.log.lines:
        assert "\n" not in line, "a record of the log has two lines"
        assert "\r" not in line, "a record of the log has two lines"


def _no_secret_logged(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    replay.log.check()


def _no_controls(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    for line in replay.log.lines:
        assert line.isprintable(), "a control character is in the log"


def _json_valid(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """A formatter of JSON makes one object of each record, with nothing of the client's in it."""
    for record in replay.log.records:
        text = json.dumps({"level": record.levelname, "message": record.getMessage()})
        assert json.loads(text)["level"] == record.levelname
        assert "\n" not in text
    sent_values = [value.decode("latin-1") for _, value in replay.each.headers if len(value) > 20]  # noqa: PLR2004
    assert not any(value in line for value in sent_values for line in replay.log.lines)


def _formatted(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    assert not replay.log.failed, "a record of the log could not be formatted"


def _line_max(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    assert all(len(line) <= int(extra.argument) for line in replay.log.lines)


def _logged_at(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    level = {"warning": 30, "error": 40, "critical": 50}[extra.argument]
    if replay.place.redis is not None:
        assert any(record.levelno >= level for record in replay.log.records), "nobody was told"


def _no_authorization_logged(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    assert not any("authorization:" in line.lower() for line in replay.log.lines)


# ----------------------------------------------------------------------------------------- floods


def _growth(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    grown = outcome.facts.get("rss_growth_mb", 0)
    assert grown <= float(extra.argument), f"{grown:.0f} MB more"


def _redis_growth(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    assert outcome.facts.get("redis_keys_growth", 0) <= int(extra.argument)


def _store_reads(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """``limit``: no more than one read for each request that could be anybody's."""
    reads = outcome.facts.get("store_reads", outcome.loads)
    limit = outcome.facts.get("requests", 1) if extra.argument == "limit" else int(extra.argument)
    assert reads <= limit, f"{reads} reads"
    del replay


def _valid_ok(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    share = outcome.facts.get("valid_ok", 1.0)
    assert share >= float(extra.argument.rstrip("%")) / 100, f"{share:.0%}"


def _percentile(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    taken = outcome.facts.get("p99", outcome.seconds)
    assert taken * 1_000 <= float(extra.argument), f"{taken * 1_000:.1f} ms"


# ------------------------------------------------------------------------------------------ other


def _documented(extra: Extra, _replay: Replay, _outcome: Outcome) -> None:
    words = {"proxy-double-handling": ("proxy-headers",)}.get(extra.argument)
    if words is None:
        msg = f"nobody knows what is to be documented: {extra.argument}"
        raise NotReplayableError(msg)
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))
    assert all(word in pages for word in words), f"no page is about {extra.argument}"


def _elsewhere(_extra: Extra, _replay: Replay, _outcome: Outcome) -> None:
    """Pass: it is asserted of every case, or by the call of this one itself."""


def _later(part: str) -> Callable[[Extra, Replay, Outcome], None]:
    def refuse(_extra: Extra, _replay: Replay, _outcome: Outcome) -> None:
        raise ComesLaterError(part)

    return refuse


CHECKERS: dict[str, Callable[[Extra, Any, Outcome], None]] = {
    "app_body_identical": _body_identical,
    "app_called": _called,
    "app_not_called": _not_called,
    "app_saw_disconnect": _saw_disconnect,
    "app_sees_no_header": _sees_no_header,
    "body_contains": _body_contains,
    "body_not_consumed": _body_not_consumed,
    "body_not_contains": _body_not_contains,
    "body_reason_absent": _no_reason_in_body,
    "cache_unchanged": _cache_unchanged,
    "documented": _documented,
    "first_chunk_before_last": _first_before_last,
    "header": _header,
    "header_absent": _header_absent,
    "header_contains": _header_contains,
    "header_not_contains": _header_not_contains,
    "header_present": _header_present,
    "identity_has_no_secret": _no_secret_in_identity,
    "identity_headers_not_trusted": _forged_unseen,
    "identity_matches_own_key_always": _own_identity,
    "iterable_closed_once": _closed_once,
    "lifespan_complete": _lifespan_complete,
    "log.level": _logged_at,
    "log_json_valid": _json_valid,
    "log_line_max": _line_max,
    "max_ms": _max_ms,
    "no_authorization_header_in_logs": _no_authorization_logged,
    "no_code_execution": _no_code,
    "no_control_chars_in_logs": _no_controls,
    "no_event": _no_event,
    "no_logging_error": _formatted,
    "no_secret_in_body": _no_secret_in_body,
    "no_secret_in_exception_tree": _no_secret_logged,
    "no_secret_in_logs": _no_secret_logged,
    "no_secret_in_spans": _later("telemetry"),
    "no_store_lookup": _no_lookup,
    "p99_ms": _percentile,
    "pool_connections_returned": _pool_whole,
    "record_from": _record_from,
    "redis_keys_growth": _redis_growth,
    "rss_growth_mb": _growth,
    "same_on_all_surfaces": _elsewhere,
    "same_response_as": _same_response_as,
    "shared_state_unchanged": _state_unchanged,
    "single_log_line": _one_line,
    "status_below_500": _below_500,
    "store_reads": _store_reads,
    "valid_requests_ok": _valid_ok,
    "within_s": _within,
    "ws_close_code": _close_code,
    "ws_denial_response": _denial_response,
}
"""Each word, and what asserts it. Where there is no shell, nothing is asserted of an answer."""

OF_CALLS = frozenset(
    {"each_rejected", "no_secret_in_result", "no_dsn_password_in_result", "hidden_entropy_bits"}
    | {"cpu_us_per_verify", "monotone_delegation", "nothing_created", "nothing_changed"}
    | {"secret_on_stdout_once", "no_secret_on_stderr"}
)
"""Words that the calls of `calls` assert themselves."""
