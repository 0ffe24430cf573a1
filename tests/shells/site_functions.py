"""Functions of a site that its settings name in text."""

from __future__ import annotations

from typing import Any

from keybound import Principal


def tenant(head: Any) -> str | None:
    """Return the tenant that the host begins with."""
    hosts = head.lines("host")
    return hosts[0].partition(b".")[0].decode() if hosts else None


def knows_token(head: Any) -> Principal | None:
    """Know one token."""
    known = b"Bearer token-of-bob" in head.lines("authorization")
    return Principal(id="bob", tenant="acme") if known else None
