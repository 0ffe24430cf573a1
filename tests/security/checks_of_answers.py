"""Checkers of who is calling, of the answer, and of what the application got."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from keybound import Limits
from keybound.core.effects import Put
from keybound.core.errors import LimitError
from keybound.testing.records import commit, row_of
from tests.security.faults import ask_store
from tests.security.keyring import MARK
from tests.security.outcomes import NotReplayableError
from tests.security.references import request_of
from tests.security.sending import sent

if TYPE_CHECKING:
    from tests.security.extras import Extra
    from tests.security.outcomes import Outcome
    from tests.security.replay import Replay
    from tests.shells.calls import Answer

PURE = "pure"
"""The subject that is a decision without a shell, and so without an application."""

# -------------------------------------------------------------------------------- who is calling

_FIELDS = {"key": "key_id", "id": "key_id"}


def identity(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """A field of the identity is this; without an identity, only where that is said."""
    field = extra.name.removeprefix("identity.")
    if field == "absent":
        assert outcome.identity is None, "there is an identity"
        return
    allowed = extra.argument.split("|")
    if outcome.identity is None:
        assert "denied" in allowed, "there is no identity"
        return
    if field == "model":
        _check_model(extra.argument, replay, outcome)
        return
    if field == "present":
        return
    if not hasattr(outcome.identity, _FIELDS.get(field, field)):
        msg = f"an identity has no {field}"
        raise NotReplayableError(msg)
    value = getattr(outcome.identity, _FIELDS.get(field, field))
    assert not _told(value).isdisjoint(allowed), f"{field} is {value!r}"


def _told(value: object) -> set[str]:
    """Return every way to write a value, as Python and as JSON do."""
    if isinstance(value, frozenset | tuple):
        names = sorted(str(each) for each in value)
        return {",".join(names), f"[{','.join(names)}]", json.dumps(names), str(names)}
    return {str(value), str(value).lower(), json.dumps(value, default=str)}


def _check_model(name: str, replay: Replay, outcome: Outcome) -> None:
    """Assert what model a request was decided on: a key for it alone passes, and for others not.

    Where it names no model, a key that is limited in models is refused for that.
    """
    key = outcome.identity.key_id
    other = _decided_with(replay, key, "another-model")
    if name in {"", "null", "None"}:
        assert other.reason == "model_unresolved", f"it names a model: {other.short}"
        return
    assert other.reason == "model_not_allowed", f"it is about another model: {other.short}"
    if not _can_be_limited(name):
        return
    only = _decided_with(replay, key, name)
    assert only.decision == "allow" or _names_several(replay), (
        f"it is about another model: {only.short}"
    )


def _can_be_limited(name: str) -> bool:
    try:
        Limits(models=[name])
    except LimitError:
        return False
    return True


def _names_several(replay: Replay) -> bool:
    """Return whether the route of a request reads several models of its body."""
    match = replay.place.engine.table.match(replay.each.method, replay.each.path)
    return match is not None and match.body is not None and len(match.body.fields) > 1


def _decided_with(replay: Replay, key: str, model: str) -> Outcome:
    """Return what becomes of the request if its key is for one model alone."""
    store = replay.place.store
    row = row_of(store, key)
    node, limits = row.node, Limits.load(row.node.limits.dump() | Limits(models=[model]).dump())
    commit(store, Put(node=replace(node, limits=limits), expected=row.rev))
    ask_store(replay)
    try:
        return replay.again()
    finally:
        commit(store, Put(node=node, expected=row_of(store, key).rev))
        ask_store(replay)
        replay.place.engine.renew()


def no_secret_in_identity(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """What the application gets shows neither the key nor what is stored for it."""
    scope = {**(outcome.served[-1] if outcome.served else {})}
    shown = repr(outcome.identity) + repr(scope.get("keybound")) + repr(scope.get("auth"))
    assert MARK not in shown
    assert replay.place.secrets.digest("K1").hex() not in shown


def forged_unseen(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Nothing that looks like an identity of ours comes from the client."""
    for seen in outcome.served:
        assert not any(b"x-keybound" in name for name, _ in seen.get("headers", ()))
        assert not any(name.startswith("HTTP_X_KEYBOUND") for name in seen)


# ------------------------------------------------------------------------------------ the answer


def _answer(outcome: Outcome) -> Answer | None:
    """Return the answer, ``None`` where there is no shell that gives one."""
    return outcome.answer


def header(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """A line of a header is exactly this."""
    name, _, value = extra.argument.partition("=")
    if (answer := _answer(outcome)) is not None:
        assert value in answer.all(name.lower()), f"{name} is {answer.all(name.lower())}"


def header_contains(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """A header has this in it, in any case."""
    name, _, value = extra.argument.partition(":")
    if (answer := _answer(outcome)) is not None:
        lines = " ".join(answer.all(name.lower()))
        assert value.lower() in lines.lower(), f"{name} is {lines}"


def header_present(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Where the name ends with a question mark, the header may also be missing."""
    if extra.argument.endswith("?"):
        return
    if (answer := _answer(outcome)) is not None:
        assert answer.all(extra.argument.lower()), f"{extra.argument} is missing"


def header_absent(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """There is no such header."""
    if (answer := _answer(outcome)) is not None:
        assert not answer.all(extra.argument.lower()), f"{extra.argument} is there"


def header_not_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """No header repeats this."""
    if (answer := _answer(outcome)) is not None:
        text = replay.text(extra.argument)
        assert text not in str(answer.headers), "a header repeats it"


def body_not_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """The body does not hold this."""
    if (answer := _answer(outcome)) is not None:
        assert replay.text(extra.argument).encode() not in answer.body, "the body holds it"


def body_empty(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """There is no body."""
    if (answer := _answer(outcome)) is not None:
        assert not answer.body, "there is a body"


def body_is_problem(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The body is an object of JSON with the members of a problem (RFC 9457)."""
    if (answer := _answer(outcome)) is not None and answer.body:
        assert answer.all("content-type") == ["application/problem+json"]
        assert {"type", "title", "status"} <= answer.problem.keys()
        assert answer.problem["status"] == answer.status


def body_max(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The body has no more bytes than this."""
    if (answer := _answer(outcome)) is not None:
        assert len(answer.body) <= extra.number, f"the body has {len(answer.body)} bytes"


def no_traceback(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The body tells nothing of the program."""
    if (answer := _answer(outcome)) is not None:
        assert b"Traceback" not in answer.body
        assert b'File "' not in answer.body


def header_once(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """A header has so many lines."""
    name, _, number = extra.argument.partition("=")
    if (answer := _answer(outcome)) is not None:
        assert len(answer.all(name.lower())) == int(number or 1), f"{name} has other lines"


def length_matches(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The body is as long as the answer says."""
    if (answer := _answer(outcome)) is not None and answer.body:
        lengths = answer.all("content-length")
        assert lengths in ([], [str(len(answer.body))]), "the body has another length"


def status_is(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The status is this."""
    assert str(outcome.status) in extra.argument.split("|"), outcome.short


def body_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """The body holds this."""
    if (answer := _answer(outcome)) is not None:
        assert replay.text(extra.argument).encode() in answer.body, "the body lacks it"


def no_reason_in_body(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The problem says nothing of why."""
    if (answer := _answer(outcome)) is not None:
        assert "reason" not in answer.problem


def no_secret_in_headers(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """No header of the answer holds a key."""
    if (answer := _answer(outcome)) is not None:
        assert MARK not in str(answer.headers)


def no_secret_in_body(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The body holds no key."""
    if (answer := _answer(outcome)) is not None:
        assert MARK.encode() not in answer.body


def same_response_as(extra: Extra, replay: Replay, outcome: Outcome) -> None:
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


def below_500(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Nothing failed."""
    assert outcome.status is not None
    assert outcome.status < 500, outcome.short


# ------------------------------------------------------------------------------- the application


def not_called(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The application was not called."""
    assert not outcome.served, "the application was called"


def called(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """The application was called, where there is one."""
    if replay.subject == PURE:
        return
    assert outcome.facts.get("noted", {}).get("lifespan") or outcome.served


def lifespan_complete(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Start and stop went through."""
    said = [each["type"] for each in outcome.facts["said"]]
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def called_once(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The application was called once."""
    assert outcome.answer is None or len(outcome.served) == 1


def sees_header(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The application sees a header of the client."""
    name, _, value = extra.argument.lower().partition("=")
    for seen in outcome.served:
        lines = [v.decode("latin-1") for k, v in seen.get("headers", ()) if k == name.encode()]
        line = seen.get("HTTP_" + name.upper().replace("-", "_"))
        lines += [line] if line is not None else []
        assert lines, f"the application does not see {name}"
        assert not value or value in [each.lower() for each in lines]


def sees_no_header(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The application does not see a header, if it is called at all.

    Views of Django see the name of the key in place of the key, for caches to tell them apart.
    """
    name = extra.argument.lower()
    for seen in outcome.served:
        assert not any(each == name.encode() for each, _ in seen.get("headers", ()))
        value = seen.get("HTTP_" + name.upper().replace("-", "_"))
        assert value is None or value == f"Keybound {outcome.identity.key_id}"


def body_identical(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """The application read what the client sent."""
    if outcome.served:
        assert outcome.facts["body"] == replay.each.body, "the application saw another body"


def body_not_consumed(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """Django's handler of ASGI reads it before any middleware is asked."""
    if replay.subject != "django-async":
        assert not outcome.facts.get("asked"), "the body was read"


def first_before_last(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Parts of an answer are sent as they are made."""
    if outcome.answer is not None and outcome.answer.messages:
        parts = [m for m in outcome.answer.messages if m["type"] == "http.response.body"]
        assert len(parts) >= 3, "the answer came in one part"
        assert all(part.get("more_body") for part in parts[:2])


def saw_disconnect(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The application heard that the client is gone."""
    if "noted" in outcome.facts:
        assert outcome.facts["noted"].get("disconnect"), "the application was not told"


def closed_once(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """What the application returned was closed once."""
    if "noted" in outcome.facts and "closed" in outcome.facts["noted"]:
        assert outcome.facts["noted"]["closed"] == 1


def state_unchanged(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """What requests share is as it was."""
    if "scope" in outcome.facts:
        assert outcome.facts["scope"].get("state") == replay.each.scope["state"]


def denial_response(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """A handshake was answered with a response."""
    if outcome.answer is not None:
        assert outcome.answer.messages[0]["type"] == "websocket.http.response.start"


def no_event(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """An event was never sent."""
    if outcome.answer is not None:
        assert extra.argument not in {each["type"] for each in outcome.answer.messages}


def close_code(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """A WebSocket was closed with one of these codes."""
    if outcome.answer is not None:
        codes = [m.get("code") for m in outcome.answer.messages if m["type"] == "websocket.close"]
        assert [str(code) for code in codes][-1:] in [[each] for each in extra.argument.split("|")]


def own_identity(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """Each of many requests saw its own identity, or the only one did."""
    own = outcome.facts.get("own_identity")
    if own is None:
        if outcome.identity is None:  # nobody saw any
            return
        sent_text = f"{replay.each.headers}{replay.each.query!r}"
        names = {"K1", *replay.place.case.world.keys}
        named = {name for name in names if replay.place.secrets.of(name) in sent_text} or {"K1"}
        seen = [each.get("keybound") is each.get("current") for each in outcome.served]
        own = outcome.identity.key_id in named and all(seen)
    assert own, "a request saw another one's identity"
