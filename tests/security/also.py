"""What a case expects besides: one table of checkers, by the first word of each expectation.

A word that nobody knows is a case that cannot be replayed, never one that passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.security import checks_of_answers as answers
from tests.security import checks_of_runs as runs
from tests.security.extras import Extra, take_apart
from tests.security.outcomes import NotReplayableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.outcomes import Outcome
    from tests.security.replay import Replay


def check(text: str, replay: Replay, outcome: Outcome) -> None:
    """Assert one expectation; raises ``NotReplayableError`` for one that nobody knows."""
    extra = take_apart(text)
    if extra.name.startswith("identity."):
        answers.identity(extra, replay, outcome)
        return
    if extra.name not in CHECKERS:
        msg = f"nobody knows the expectation {text!r}"
        raise NotReplayableError(msg)
    CHECKERS[extra.name](extra, replay, outcome)


CHECKERS: dict[str, Callable[[Extra, Any, Outcome], None]] = {
    "app_body_identical": answers.body_identical,
    "app_called": answers.called,
    "app_called_once": answers.called_once,
    "app_not_called": answers.not_called,
    "app_saw_disconnect": answers.saw_disconnect,
    "app_sees_header": answers.sees_header,
    "app_sees_no_header": answers.sees_no_header,
    "body_bytes": answers.body_max,
    "body_contains": answers.body_contains,
    "body_empty": answers.body_empty,
    "body_is_problem_json": answers.body_is_problem,
    "body_max": answers.body_max,
    "body_not_consumed": answers.body_not_consumed,
    "body_not_contains": answers.body_not_contains,
    "body_reason_absent": answers.no_reason_in_body,
    "cache_entries": runs.cached,
    "cache_unchanged": runs.cache_unchanged,
    "content_length_matches": answers.length_matches,
    "denial_logged": runs.denial_logged,
    "documented": runs.documented,
    "first_chunk_before_last": answers.first_before_last,
    "header": answers.header,
    "header_absent": answers.header_absent,
    "header_contains": answers.header_contains,
    "header_count": answers.header_once,
    "header_not_contains": answers.header_not_contains,
    "header_once": answers.header_once,
    "header_present": answers.header_present,
    "identity_has_no_secret": answers.no_secret_in_identity,
    "identity_headers_not_trusted": answers.forged_unseen,
    "identity_matches_own_key_always": answers.own_identity,
    "iterable_closed_once": answers.closed_once,
    "lifespan_complete": answers.lifespan_complete,
    "log.level": runs.logged_at,
    "log_contains": runs.log_contains,
    "log_json_valid": runs.json_valid,
    "log_level": runs.logged_at,
    "log_line_max": runs.line_max,
    "log_lines": runs.lines_of_log,
    "log_not_contains": runs.log_lacks,
    "max_ms": runs.max_ms,
    "no_authorization_header_in_logs": runs.no_authorization_logged,
    "no_body": answers.body_empty,
    "no_code_execution": runs.no_code,
    "no_control_chars_in_logs": runs.no_controls,
    "no_event": answers.no_event,
    "no_logging_error": runs.formatted,
    "no_secret_in_body": answers.no_secret_in_body,
    "no_secret_in_exception_tree": runs.no_secret_raised,
    "no_secret_in_headers": answers.no_secret_in_headers,
    "no_secret_in_logs": runs.no_secret_logged,
    "no_secret_in_spans": runs.no_secret_traced,
    "no_store_lookup": runs.no_lookup,
    "no_traceback_in_body": answers.no_traceback,
    "p50_ms": runs.percentile,
    "p95_ms": runs.percentile,
    "p99_ms": runs.percentile,
    "pool_connections_returned": runs.pool_whole,
    "record_from": runs.record_from,
    "redis_keys_growth": runs.redis_growth,
    "rss_growth_mb": runs.growth,
    "same_on_all_surfaces": runs.elsewhere,
    "same_response_as": answers.same_response_as,
    "shared_state_unchanged": answers.state_unchanged,
    "single_log_line": runs.one_line,
    "status": answers.status_is,
    "status_below_500": answers.below_500,
    "store_lookups": runs.store_reads,
    "store_reads": runs.store_reads,
    "valid_requests_ok": runs.valid_ok,
    "within_s": runs.within,
    "ws_close_code": answers.close_code,
    "ws_denial_response": answers.denial_response,
}
"""Each word, and what asserts it. Where there is no shell, nothing is asserted of an answer."""

OF_CALLS = frozenset(
    {"each_rejected", "no_secret_in_result", "no_dsn_password_in_result", "hidden_entropy_bits"}
    | {"cpu_us_per_verify", "monotone_delegation", "nothing_created", "nothing_changed"}
    | {"secret_on_stdout_once", "no_secret_on_stderr", "exit_nonzero"}
    | {"no_secret_in_exception_tree", "no_secret_in_spans"}
)
"""Words that the calls of `calls` assert themselves."""

OF_LOGS = {
    name: CHECKERS[name]
    for name in (
        *("log_line_max", "log_lines", "no_authorization_header_in_logs", "no_code_execution"),
        *("no_control_chars_in_logs", "no_logging_error", "no_secret_in_logs", "documented"),
        "single_log_line",
    )
}
"""Words that are about what was logged or left behind, so that calls are held to them as well."""
