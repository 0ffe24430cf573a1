"""What the runner of the catalogue knows, and that it says so where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from keybound.core.reasons import Reason
from tests.security import also, extras, reasons_of, settings_of
from tests.security.cases import HTTP, OWN, UnreadableCaseError, load
from tests.security.events import EVENTS
from tests.security.faults import FAULTS
from tests.security.keyring import MARK, Secrets
from tests.security.murmur import collision, murmur32
from tests.security.outcomes import NotReplayableError, Outcome
from tests.security.running import replay
from tests.security.test_catalogue import CONTRADICTED_CASES
from tests.security.texts import text

if TYPE_CHECKING:
    from pathlib import Path

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
