"""Checkers of what was asked, how long it took, what was logged, and what is left behind."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tests.security import spans
from tests.security.keyring import CANARY_FILE, MARK
from tests.security.outcomes import NotReplayableError, said_by

if TYPE_CHECKING:
    from tests.security.extras import Extra
    from tests.security.outcomes import Outcome
    from tests.security.replay import Replay

DOCS = Path(__file__).parents[2] / "docs"

TRIES = 100
"""How often a request is sent again that took too long: a machine is busy now and then."""


# -------------------------------------------------------------------------------- store and time


def no_lookup(_: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Nobody was asked about a key."""
    assert outcome.loads == 0, "the store was asked"


def record_from(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """The store was asked."""
    if extra.argument in {"redis", "cache"}:
        assert outcome.loads == 0, "the store was asked"
        return
    if extra.argument not in {"sql", "store"}:
        msg = f"nobody knows where {extra.argument} is"
        raise NotReplayableError(msg)
    assert outcome.loads >= 1, "the store was not asked"


def max_ms(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """It takes no longer than this, of some tries."""
    taken, tries = outcome.seconds, 0
    while taken * 1_000 > extra.number and tries < TRIES:
        tries += 1
        taken = min(taken, replay.again().seconds)
    assert taken * 1_000 <= extra.number, f"it took {taken * 1_000:.1f} ms"


def within(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Assert what the run of the case did: it let that much time pass and no more."""
    assert replay.waited <= extra.number


def no_code(_: Extra, _replay: Replay, _outcome: Outcome) -> None:
    """Nothing that was stored was executed."""
    assert not Path(CANARY_FILE).exists(), "a value of Redis was executed"


def pool_whole(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Nothing is held that a cancelled request took: the next one is served."""
    replay.place.store.before_load = None
    assert replay.again().decision == "allow"


def cache_unchanged(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """What a request read that was given up is not kept."""
    assert not replay.cached_after_cancel, "what a cancelled request read was kept"


# ------------------------------------------------------------------------------------------ logs


def one_line(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Every record of the log is one line."""
    for line in replay.log.lines:
        assert "\n" not in line, "a record of the log has two lines"
        assert "\r" not in line, "a record of the log has two lines"


def no_secret_logged(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Nothing that was logged holds a key."""
    replay.log.check()


def no_secret_raised(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """Nothing that was raised says a key, be it logged or left to the server."""
    no_secret_logged(extra, replay, outcome)
    said = said_by(outcome.error) if outcome.error is not None else []
    for record in replay.log.records:
        error = record.exc_info[1] if record.exc_info else None
        said += said_by(error) if error is not None else []
    assert not any(MARK in each for each in said), "an exception says a secret"


def no_secret_traced(_extra: Extra, _replay: Replay, _outcome: Outcome) -> None:
    """Nothing that OpenTelemetry was told holds a key."""
    assert not any(MARK in each for each in spans.heard()), "a secret was measured or traced"


def no_controls(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Nothing that was logged steers a terminal."""
    for line in replay.log.lines:
        assert line.isprintable(), "a control character is in the log"


def json_valid(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """A formatter of JSON makes one object of each record, with nothing of the client's in it."""
    for record in replay.log.records:
        text = json.dumps({"level": record.levelname, "message": record.getMessage()})
        assert json.loads(text)["level"] == record.levelname
        assert "\n" not in text
    sent_values = [value.decode("latin-1") for _, value in replay.each.headers if len(value) > 20]
    assert not any(value in line for value in sent_values for line in replay.log.lines)


def formatted(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Every record of the log could be formatted."""
    assert not replay.log.failed, "a record of the log could not be formatted"


def line_max(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """No record of ours is longer than this; frameworks have a log of their own."""
    ours = [line for line in replay.log.lines if line.split()[1].startswith("keybound")]
    assert all(len(line) <= extra.number for line in ours)


def logged_at(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Over Redis, somebody was told at this level or above."""
    level = logging.getLevelNamesMapping().get(extra.argument.upper())
    if level is None:
        msg = f"nobody knows the level {extra.argument!r}"
        raise NotReplayableError(msg)
    if replay.place.redis is None:
        return
    told = [record.levelno for record in replay.log.records]
    if extra.op == "<=":
        assert all(each <= level for each in told), "somebody was told more loudly"
    else:
        assert any(each >= level for each in told), "nobody was told"


def denial_logged(_: Extra, replay: Replay, outcome: Outcome) -> None:
    """A refusal is in the log of refusals, with its reason."""
    if outcome.answer is not None and outcome.reason is not None:
        lines = [line for line in replay.log.lines if " keybound.denials " in line]
        assert any(f'"reason":"{outcome.reason}"' in line for line in lines), "it is not logged"


def log_lacks(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """Nothing that was logged holds this."""
    wanted = replay.text(extra.argument)
    assert not any(wanted in line for line in replay.log.lines), "it is in the log"


def log_contains(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """Something that was logged holds this, where there is a shell that logs."""
    if outcome.answer is not None:
        wanted = replay.text(extra.argument)
        assert any(wanted in line for line in replay.log.lines), "it is not in the log"


def lines_of_log(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """No more records of ours are in the log than this, but for what is only for developers."""
    ours = [each for each in replay.log.records if each.name.startswith("keybound.")]
    told = [each for each in ours if each.levelno >= logging.INFO and "keys are in" not in each.msg]
    assert len(told) <= extra.number, f"{len(told)} records"


def no_authorization_logged(_: Extra, replay: Replay, _outcome: Outcome) -> None:
    """No header with a credential was logged."""
    assert not any("authorization:" in line.lower() for line in replay.log.lines)


# ----------------------------------------------------------------------------------------- floods


def _fact(outcome: Outcome, name: str) -> float:
    """Return what was measured; raises ``NotReplayableError`` where it was not."""
    if name not in outcome.facts:
        msg = f"nothing measured {name} of such a request"
        raise NotReplayableError(msg)
    return float(outcome.facts[name])


def growth(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """No more memory is in use than this."""
    grown = _fact(outcome, "rss_growth_mb")
    assert grown <= extra.number, f"{grown:.0f} MB more"


def cached(extra: Extra, replay: Replay, _outcome: Outcome) -> None:
    """No more keys are remembered than this."""
    assert len(replay.place.engine.cache.entries) <= extra.number


def redis_growth(extra: Extra, replay: Replay, outcome: Outcome) -> None:
    """No more names are in Redis than this; a case that says so also runs over one."""
    if replay.place.way.redis:
        assert _fact(outcome, "redis_keys_growth") <= extra.number


def store_reads(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """``limit``: no more than one read for each request that could be anybody's."""
    reads = _fact(outcome, "store_reads")
    limit = outcome.facts.get("requests", 1) if extra.argument == "limit" else extra.number
    assert reads <= limit, f"{reads} reads"


def valid_ok(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """As many of the good keys were served."""
    share = _fact(outcome, "valid_ok")
    assert share >= extra.number / 100, f"{share:.0%}"


def percentile(extra: Extra, _replay: Replay, outcome: Outcome) -> None:
    """Nearly all took no longer than this; so fewer of them did not, either."""
    taken = outcome.facts.get("p99", outcome.seconds)
    assert taken * 1_000 <= extra.number, f"{taken * 1_000:.1f} ms"


# ------------------------------------------------------------------------------------------ other


def documented(extra: Extra, _replay: Replay, _outcome: Outcome) -> None:
    """A page says what holds: it has every word that names it."""
    named = extra.argument.lower().replace("_", "-")
    words = _NAMED.get(named, named.split("-"))
    pages = [page.read_text(encoding="utf-8").lower() for page in sorted(DOCS.glob("*.md"))]
    about = any(all(word in page for word in words) for page in pages)
    assert about, f"no page is about {extra.argument}"


_NAMED = {"proxy-double-handling": ["proxy-headers"]}
"""What a page about something has in it, where that is not what a case calls it."""


def elsewhere(_extra: Extra, _replay: Replay, _outcome: Outcome) -> None:
    """Pass: it is asserted of every case, or by the call of this one itself."""
