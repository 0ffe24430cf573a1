"""What ``keybound demo`` shows: the keys it issues, the requests it sends, the right answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from keybound.clocks import read_entropy
from keybound.core.errors import ExceedsCeilingError
from keybound.core.keys import ENTROPY_BYTES
from keybound.core.limits import Limits
from keybound.core.reasons import Reason
from keybound.core.routes import Route

if TYPE_CHECKING:
    from keybound.core.issuing import IssuedKey
    from keybound.core.secret import Secret
    from keybound.guard import Guard

NO_KEY, GARBAGE, NEVER_ISSUED, TWICE = "no key", "garbage", "unknown", "two keys"

_SHORT = timedelta(seconds=0.3)


ROUTES = (
    Route("/healthz", auth="exempt"),
    Route("/me", tenant="~"),
    Route("/domains/{tenant}/messages/search", methods="POST", model="message", access="read"),
    Route("/domains/{tenant}/messages", model="message"),
    Route("/domains/{tenant}/users/{user}/messagesessions", model="messagesession"),
    Route("/domains/{tenant}/devices", model="device"),
)
"""What requests to the application are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request with one of the keys, and the right answer to it."""

    key: str
    method: str
    path: str
    status: int
    reason: Reason | None = None


def _case(key: str, request: str, status: int, reason: Reason | None = None) -> Case:
    method, _, path = request.partition(" ")
    return Case(key=key, method=method, path=path, status=status, reason=reason)


_LIST, _SEND = "GET /domains/acme/messages", "POST /domains/acme/messages"

CASES = (
    _case("full", _LIST, 200),
    _case("full", _SEND, 201),
    _case("full", "GET /me", 200),
    _case("full", "GET /domains/globex/messages", 403, Reason.TENANT_MISMATCH),
    _case("messages", _SEND, 201),
    _case("messages", "POST /domains/acme/users/7/messagesessions", 201),
    _case("messages", "GET /domains/acme/devices", 403, Reason.MODEL_NOT_ALLOWED),
    _case("reader", "GET /domains/acme/devices", 200),
    _case("reader", "POST /domains/acme/messages/search", 200),
    _case("reader", _SEND, 403, Reason.METHOD_NOT_ALLOWED),
    _case("globex", "GET /domains/globex/messages", 200),
    _case("globex", _LIST, 403, Reason.TENANT_MISMATCH),
    _case("local", _LIST, 200),
    _case("office", _LIST, 403, Reason.NETWORK_NOT_ALLOWED),
    _case("child", _LIST, 200),
    _case("child", _SEND, 403, Reason.MODEL_NOT_ALLOWED),
    _case("expired", _LIST, 401, Reason.EXPIRED),
    _case("disabled", _LIST, 401, Reason.DISABLED),
    _case("grouped", _LIST, 401, Reason.DISABLED),
    _case(NEVER_ISSUED, _LIST, 401, Reason.UNKNOWN_KEY),
    _case(GARBAGE, _LIST, 401, Reason.MALFORMED_CREDENTIALS),
    _case(NO_KEY, _LIST, 401, Reason.MISSING_CREDENTIALS),
    _case(NO_KEY, "GET /healthz", 200),
    _case(TWICE, _LIST, 400, Reason.DUPLICATE_CREDENTIALS),
)
"""Every request of the demo: each limit once where it permits and once where it refuses."""

AFTERWARDS = (
    _case("full", _LIST, 401, Reason.REVOKED),
    _case("child", _LIST, 401, Reason.REVOKED),
)
"""What is right once the key ``full`` is revoked."""

ABOUT = {
    "full": "everything in acme",
    "messages": "models message and messagesession of acme",
    "reader": "acme, reads only",
    "globex": "everything in globex",
    "local": "acme, from 127.0.0.0/8",
    "office": "acme, from 10.0.0.0/8",
    "child": "issued under full, reads messages",
    "expired": "its lifetime is over",
    "disabled": "disabled",
    "grouped": "in a group that is disabled",
}
"""The keys of the demo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoKeys:
    """The issued keys by name, and what a child key was told that asked for too much."""

    issued: dict[str, IssuedKey]
    never_issued: Secret
    exceeding: str

    def revealed(self) -> dict[str, str]:
        """Return the keys themselves: whoever runs the demo is meant to try them."""
        return {name: self.issued[name].secret.reveal() for name in ABOUT}

    def variants(self, name: str) -> list[list[str]]:
        """Return every way in which the requests of a case carry their ``Authorization``."""
        if name == NO_KEY:
            return [[]]
        if name == TWICE:
            return [[f"Bearer {self.issued['full'].secret.reveal()}"] * 2]
        return [[f"Bearer {self._text(name)}"], [f"rest_api_key={self._text(name)}"]]

    def _text(self, name: str) -> str:
        if name == GARBAGE:
            return "not-a-key"
        if name == NEVER_ISSUED:
            return self.never_issued.reveal()
        return self.issued[name].secret.reveal()


def issue_keys(guard: Guard) -> DemoKeys:
    """Issue the keys of the demo; when this returns, the short-lived one has expired."""
    clock = guard.engine.clock
    ends = datetime.fromtimestamp(clock.wall(), UTC) + _SHORT
    group = guard.create_group(name="contractors").node.id
    models = {"message": "write", "messagesession": "write"}
    limits: dict[str, Limits] = {
        "full": Limits(),
        "messages": Limits(models=models),
        "reader": Limits(read_only=True),
        "globex": Limits(),
        "local": Limits(networks="127.0.0.0/8"),
        "office": Limits(networks="10.0.0.0/8"),
        "expired": Limits(expires_at=ends),
        "disabled": Limits(),
    }
    issued = {
        name: guard.issue(name=name, tenant="globex" if name == "globex" else "acme", limits=limit)
        for name, limit in limits.items()
    }
    issued["grouped"] = guard.issue(name="grouped", tenant="acme", groups=[group])
    issued["child"] = guard.issue(
        name="child", parent=issued["full"].id, limits=Limits(models={"message": "read"})
    )
    exceeding = ""
    try:
        guard.issue(
            name="greedy", parent=issued["messages"].id, limits=Limits(models={"device": "write"})
        )
    except ExceedsCeilingError as error:
        exceeding = str(error)
    guard.disable(issued["disabled"].id)
    guard.disable(group)
    clock.sleep(max(0.0, ends.timestamp() - clock.wall()))
    stranger = guard.engine.format.generate(read_entropy(ENTROPY_BYTES))
    return DemoKeys(issued=issued, never_issued=stranger, exceeding=exceeding)
