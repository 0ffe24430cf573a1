"""What holds whatever a server makes of bytes, said once more and without the code under test."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.wire.connections import CLOSED, SILENT

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.wire.connections import Answer

OPEN = re.compile(r"/optional|/open(/(?!\.\.?(/|\Z))[^/\\\x00-\x1f\x7f\ufffd]+)*/?")
"""Paths that need no key, as a router reads them that takes nothing for anything else."""

READS = {"GET", "HEAD", "OPTIONS"}


def check(answer: Answer, keys: Collection[str | None]) -> None:
    """See that one answer lets nobody in too far; ``keys`` are those that the request carried."""
    assert answer.status < 500 or answer.status in {501, 505}
    if answer.outcome == "served":
        told = answer.told
        assert told is not None
        check_served(told, keys)
    elif answer.outcome == "refused":
        check_refusal(answer)
    else:
        assert answer.status in {CLOSED, SILENT} or answer.status >= 400


def check_served(told: dict[str, Any], keys: Collection[str | None]) -> None:
    """See that the application was reached by whom it may be reached."""
    key, method, path = told["key"], told["method"], told["path"]
    assert told["forged"] == []
    if key is None:
        assert OPEN.fullmatch(path)
        assert method != "WEBSOCKET"
        return
    assert key in keys
    assert key not in {"dead", "elsewhere"}
    assert told["tenant"] == "acme"
    assert path.startswith("/")
    if path.startswith("/d"):
        assert path in {"/d/acme/x", "/d/~/x"}
    if key == "reader":
        assert method in READS or (method, path) in {("POST", "/search"), ("WEBSOCKET", "/feed")}
    if key == "invoices":
        assert (method in READS, path) == (True, "/m/invoice")
    if key == "here":
        assert told["peer"] == "127.0.0.1"


def check_refusal(answer: Answer) -> None:
    """See that a refusal is whole: a problem document of the length and the status that it says."""
    assert answer.status in {400, 401, 403}
    (length,) = answer.all("content-length")
    assert answer.all("cache-control") == ["no-store"]
    assert answer.all("content-type") == ["application/problem+json"]
    if answer.status in {401, 403}:
        assert answer.all("www-authenticate")
    if answer.body:
        problem = json.loads(answer.body)
        assert len(answer.body) == int(length)
        assert problem["status"] == answer.status
        assert [problem["id"]] == answer.all("keybound-denial")
