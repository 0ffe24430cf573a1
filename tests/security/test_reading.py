"""What the runner of the catalogue knows, and that it says so where it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from keybound.core.reasons import Reason
from tests import telemetry
from tests.security import also, extras, reasons_of, settings_of, spans
from tests.security.cases import HTTP, OWN, UnreadableCaseError, load
from tests.security.events import EVENTS
from tests.security.faults import FAULTS
from tests.security.keyring import MARK, Secrets
from tests.security.logs import Log
from tests.security.murmur import collision, murmur32
from tests.security.outcomes import NotReplayableError, Outcome
from tests.security.running import replay
from tests.security.test_catalogue import CONTRADICTED_CASES
from tests.security.texts import text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.cases import Case
    from tests.security.replay import Replay, Tools

CASES = load(OWN)

REPLAYED = [case for case in CASES.values() if case.kind in HTTP]

OTHER = """
base: {client: [192.0.2.1, 1]}
cases:
- {id: X-001, area: x, surfaces: [asgi], given: {key: null, before: [{revoke: K1}]},
   request: {kind: http, path: /}, expect: {decision: deny, status: 401, public_error: null}}
"""

OURS = """
area: x
cases:
  X-001:
    about: Something
    over: asgi
    world: {key: null}
    first: [{revoke: K1}]
    send: {ask: GET /, client: [192.0.2.1, 1]}
    answer: {be: deny, status: 401, problem: null}
"""


@pytest.mark.parametrize("document", [OTHER, OURS], ids=["the other format", "ours"])
def test_both_formats_say_the_same(document: str, tmp_path: Path):
    """A case is the same, whichever way it is written down."""
    (tmp_path / "cases.yaml").write_text(document, encoding="utf-8")
    (case,) = load(tmp_path / "cases.yaml").values()
    assert (case.id, case.world.key, case.world.events) == ("X-001", None, ({"revoke": "K1"},))
    assert (case.expected.problem, case.expected.says_problem) == (None, True)
    assert case.request["client"] == ["192.0.2.1", 1]
    assert case.over("asgi")
    assert not case.over("wsgi")


@pytest.mark.parametrize("document", ["[]", "cases: []", "area: x"])
def test_what_is_no_catalogue_is_not_read(document: str, tmp_path: Path):
    """A run of no case at all would pass."""
    (tmp_path / "cases.yaml").write_text(document, encoding="utf-8")
    with pytest.raises(UnreadableCaseError):
        load(tmp_path / "cases.yaml")


@pytest.mark.parametrize(
    "document", [OURS.replace("about", "wherefore"), OTHER.replace("given", "g")]
)
def test_a_case_that_cannot_be_read_is_not_replayed(document: str, tools: Tools, tmp_path: Path):
    """A member that nobody knows may be what a case is about; the cases beside it are replayed."""
    (tmp_path / "cases.yaml").write_text(document, encoding="utf-8")
    (case,) = load(tmp_path / "cases.yaml").values()
    with pytest.raises(NotReplayableError, match="unknown members"):
        replay(case, tools)


def test_a_text_that_is_no_text_is_read(tmp_path: Path):
    """Half a surrogate pair is what some servers make of a byte that is not UTF-8."""
    document = OTHER.replace("path: /", 'path: "/\\uDCFF"')
    (tmp_path / "cases.yaml").write_text(document, encoding="utf-8")
    (case,) = load(tmp_path / "cases.yaml").values()
    assert case.request["path"] == "/\udcff"


def test_every_reason_of_the_table_is_one_of_ours():
    """A name that is misspelt would let no case pass, or any."""
    ours = {reason.value for reason in Reason} | {"ok", "exempt"}
    assert {each for known in reasons_of.REASONS.values() for each in known} <= ours


def test_all_that_our_cases_say_is_known():
    """Whatever a case of ours expects, sets, breaks or lets happen has its function."""
    words = {extras.take_apart(each).name for case in REPLAYED for each in case.expected.also}
    assert {w for w in words if not w.startswith("identity.")} <= also.CHECKERS.keys()
    worlds = [case.world for case in REPLAYED]
    assert {name for world in worlds for name in world.settings} <= settings_of.SETTINGS.keys()
    assert {next(iter(each)) for world in worlds for each in world.events} <= EVENTS.keys()
    assert {next(iter(each)) for world in worlds for each in world.faults} <= FAULTS.keys()


@pytest.mark.parametrize("extra", ["never_heard_of", "never_heard_of:x", "max_ms<<5", "!"])
def test_an_expectation_that_nobody_knows_is_not_passed_over(extra: str):
    """What is not asserted would be a promise that nobody keeps."""
    outcome = Outcome(decision="deny", status=401, reason="unknown_key")
    with pytest.raises(NotReplayableError):
        also.check(extra, cast("Replay", None), outcome)


def one(document: str, tmp_path: Path) -> Case:
    """Return the case of a catalogue of one."""
    file = tmp_path / "cases.yaml"
    file.write_text(f"area: x\ncases:\n  X-001: {{about: x, {document}}}\n", encoding="utf-8")
    (case,) = load(file).values()
    return case


IN_PATH = "world: {key: {models: [a, b]}, settings: {model_from: {path: '/{model}/**'}}}"
IN_BODY = "world: {key: {models: [a, b]}, settings: {model_from: {json_body: model}}}"
POSTED = (
    "ask: POST /, headers: [[authorization, 'Bearer {{K1}}'], [content-type, application/json]], "
    'body: \'{"model": "a", "note": "b"}\''
)
FLOODED = (
    "over: asgi, world: {key: null}, send: {ask: GET /, scope: {test.flood: {random_keys: 9}}}"
)
DENIED = "be: deny, status: 401, because: unknown_key, problem: invalid_token"
MANY = "over: asgi, send: {ask: GET /, scope: {test.parallel: {n: 3}}}"
SERVED = "be: allow, status: 200, because: ok"


@pytest.mark.parametrize(
    ("world", "sent", "model", "others"),
    [
        (IN_PATH, "ask: GET /a/x", "a", ["b", "null"]),
        (IN_BODY, POSTED, "a", ["b", "note", "null"]),
        ("world: {key: {}}", "ask: GET /", "null", ["a"]),
    ],
)
def test_the_model_of_an_identity_is_the_one_that_was_decided_on(
    world: str, sent: str, model: str, others: list[str], tools: Tools, tmp_path: Path
):
    """A name that stands anywhere in a body is no model yet."""
    what = f"over: asgi wsgi, {world}, send: {{{sent}}}, answer: {{{SERVED}, also: [identity.model="
    replay(one(f"{what}{model}]}}", tmp_path), tools)
    for other in others:
        with pytest.raises(AssertionError, match=r": it (names a|is about another) model"):
            replay(one(f"{what}{other}]}}", tmp_path), tools)


@pytest.mark.parametrize(
    ("what", "extra"),
    [
        (f"{FLOODED}, answer: {{{DENIED}", "rss_growth_mb<=-1000"),
        (f"{FLOODED}, answer: {{{DENIED}", "redis_keys_growth<=-1"),
        (f"{FLOODED}, answer: {{{DENIED}", "valid_requests_ok>=101%"),
        (f"{FLOODED}, answer: {{{DENIED}", "store_reads<=8"),
        (f"{MANY}, answer: {{{SERVED}", "rss_growth_mb<=-1000"),
        (f"{MANY}, answer: {{{SERVED}", "redis_keys_growth<=-1"),
        (f"{MANY}, answer: {{{SERVED}", "valid_requests_ok>=101%"),
        (f"{MANY}, answer: {{{SERVED}", "store_lookups=0"),
        (f"over: asgi, send: {{ask: GET /}}, answer: {{{SERVED}", "rss_growth_mb<=-1000"),
        (f"over: asgi, send: {{ask: GET /}}, answer: {{{SERVED}", "redis_keys_growth<=-1"),
    ],
)
def test_what_is_asserted_of_a_number_was_measured(
    what: str, extra: str, tools: Tools, tmp_path: Path
):
    """Whatever the request, what it costs is more than nothing would be."""
    if "redis" in extra and tools.redis() is None:
        pytest.skip("there is no Redis")
    with pytest.raises(AssertionError):
        replay(one(f"{what}, also: ['{extra}']}}", tmp_path), tools)


def test_what_nothing_measured_is_not_passed_over(tools: Tools, tmp_path: Path):
    """A request with no key says nothing of those with one."""
    what = "over: asgi, world: {key: null}, send: {ask: GET /}"
    with pytest.raises(NotReplayableError):
        replay(
            one(f"{what}, answer: {{{DENIED}, also: ['valid_requests_ok>=1%']}}", tmp_path), tools
        )


def test_the_only_identity_is_that_of_the_key(tools: Tools, tmp_path: Path):
    """Of one request as of many."""
    what = f"over: any, send: {{ask: GET /}}, answer: {{{SERVED}"
    replay(one(f"{what}, also: [identity_matches_own_key_always]}}", tmp_path), tools)
    outcome = Outcome(decision="allow", status=200, reason="ok")
    outcome.facts = {"own_identity": False}
    with pytest.raises(AssertionError, match="another one's"):
        also.check("identity_matches_own_key_always", cast("Replay", None), outcome)


def _raised() -> BaseException:
    """Return an error with a secret in the note of a part of what was handled meanwhile."""
    deep = ValueError("x")
    deep.add_note(f"it was {MARK}")
    error = LookupError()
    error.__context__ = ExceptionGroup("several", [TypeError(), deep])
    return error


def test_a_secret_in_an_error_is_found_however_deep():
    """In its causes, contexts, parts and notes."""
    outcome = Outcome(decision="error", status=None, reason=None, error=_raised())
    run = cast("Replay", SimpleNamespace(log=Log()))
    with pytest.raises(AssertionError, match="an exception"):
        also.check("no_secret_in_exception_tree", run, outcome)
    outcome.error = LookupError()
    also.check("no_secret_in_exception_tree", run, outcome)


@pytest.mark.parametrize("where", ["attribute", "event"])
def test_a_secret_in_a_span_is_found(where: str):
    """As an attribute, or in an event such as an error that was noted."""
    telemetry.read()
    with spans.span() as span:
        if where == "attribute":
            span.set_attribute("http.request.header.authorization", f"Bearer {MARK}")
        else:
            span.add_event("odd", {"said": MARK})
    outcome = Outcome(decision="allow", status=200, reason="ok")
    try:
        with pytest.raises(AssertionError):
            also.check("no_secret_in_spans", cast("Replay", None), outcome)
        assert any(MARK in each for each in telemetry.attributes())
    finally:
        telemetry.SPANS.clear()


def test_what_nothing_asserts_of_a_call_is_not_passed_over(tools: Tools, tmp_path: Path):
    """A call has no answer whose header could be looked at."""
    what = "over: any, send: {kind: python, call: [repr(issued)]}"
    with pytest.raises(NotReplayableError, match="of a call"):
        replay(one(f"{what}, answer: {{be: check, also: ['header:x=y']}}", tmp_path), tools)


def test_only_cases_that_there_are_contradict():
    """An id in the list is that of a case, and has its reason."""
    assert CONTRADICTED_CASES.keys() <= CASES.keys()
    assert all(CONTRADICTED_CASES.values())


def test_a_placeholder_that_nobody_knows_is_not_passed_over(secrets: Secrets):
    """Sent as it stands it would be a credential like any other that is wrong."""
    with pytest.raises(NotReplayableError):
        text("Bearer {{K1:backwards}}", secrets)
    assert text("Bearer {{K1}}", secrets) == f"Bearer {secrets.of('K1')}"


def test_a_secret_has_its_mark_and_a_hint_has_not(secrets: Secrets):
    """The mark in a log or an answer is a leak, and what may be shown is none."""
    assert MARK in secrets.of("K1")
    assert MARK not in text("{{K1:hint}}", secrets)
    assert MARK not in secrets.fill("K1:same_prefix_wrong_secret")


def test_a_collision_is_one(secrets: Secrets):
    """Two texts are told apart although a short hash of both is the same."""
    secret = secrets.of("K9")
    other = collision(secret, secrets.prefix)
    assert other != secret
    assert murmur32(other.encode()) == murmur32(secret.encode())
    assert murmur32(b"hello") == 0x248BFA47
