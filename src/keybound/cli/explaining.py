"""``keybound explain``: every check of a request, or what the id of a denial says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keybound.cli.exits import Ended, Exit
from keybound.cli.options import read_moment
from keybound.cli.render import Whole, card, moment, table, to_seconds
from keybound.cli.session import Session
from keybound.core.errors import InputError
from keybound.core.explain import MEANINGS, Explanation, Step
from keybound.core.facts import RequestFacts, unpack_address

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from keybound.options import ExplainOptions

_REQUEST = "The request, where the routes do not say it"


def explain(
    session: Session,
    target: Annotated[
        str, typer.Argument(metavar="KEY-ID|DENIAL-ID", help="Id of a key, or of a refusal.")
    ],
    method: Annotated[str | None, typer.Argument(metavar="METHOD", help="Such as GET.")] = None,
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="Such as /v1/x.")] = None,
    *,
    ip: Annotated[
        str | None, typer.Option(help="Address of the client.", rich_help_panel=_REQUEST)
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of the request.", rich_help_panel=_REQUEST)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the request.", rich_help_panel=_REQUEST)
    ] = None,
    sent_in: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where the key stands: header, query or cookie.",
            rich_help_panel=_REQUEST,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT", help="When it is made; now, if left out.", rich_help_panel=_REQUEST
        ),
    ] = None,
) -> None:
    """Show every check of a request that a key might make, and what would admit it.

    With one argument, open the id that stands in a refusal and in the log.
    """
    given = {"ip": ip, "tenant": tenant, "model": model, "sent_in": sent_in}
    options: ExplainOptions = {name: text for name, text in given.items() if text is not None}  # type: ignore[assignment]
    if at is not None:
        options["at"] = read_moment("--at", at)
    if method is not None and path is not None:
        _explain_request(session, target, method, path, options)
    elif method is None and not options and not target.startswith(("key_", "group_")):
        _explain_denial(session, target)
    else:
        fix = "write KEY-ID METHOD PATH, or a denial's id alone"
        raise InputError("explain", "needs a method and a path", fix=fix)


def mends_of(steps: tuple[Step, ...]) -> list[str]:
    """Return the edits that together admit the request, in an order that works.

    Those of parents and groups come first: a key cannot be given more than they allow.
    """
    refused = [step for step in steps if step.refused is not None]
    order = list(dict.fromkeys(step.node for step in steps))
    refused.sort(key=lambda step: -order.index(step.node))
    return list(dict.fromkeys(step.mend for step in refused if step.mend is not None))


def _explain_request(
    session: Session, key: str, method: str, path: str, options: ExplainOptions
) -> None:
    with session.guard() as guard:
        found = guard.explain(key, method, path, **options)
    reason = found.reason
    mends = [] if reason is None else mends_of(found.steps)
    data = {
        "key": found.key,
        "allowed": reason is None,
        "guarded": not found.unguarded,
        "reason": reason,
        "facts": _facts(found.facts),
        "checks": [_step(step) for step in found.steps],
        "mends": mends,
    }
    shown: list[RenderableType] = [
        _request_card(found.facts),
        "",
        _checks(found),
        "",
        _verdict(found),
    ]
    if mends:
        shown += ["what would admit it, in this order:", *(Whole(f"  {mend}") for mend in mends)]
    session.out.result(data, *shown)
    if reason is not None:
        raise Ended(Exit.NO)


def _explain_denial(session: Session, denial: str) -> None:
    with session.guard() as guard:
        found = guard.explain_denial(denial)
    data = {
        "at": moment(found.at),
        "reason": found.reason,
        "meaning": found.meaning,
        "key": found.key,
        "check": None if found.step is None else _step(found.step),
    }
    pairs: list[tuple[str, str | None]] = [
        ("refused", moment(found.at)),
        ("reason", f"{found.reason.value}. {found.meaning}"),
        ("key", found.key),
    ]
    if found.step is not None:
        pairs += [
            ("check", f"{found.step.check} of {found.step.kind} {found.step.node}"),
            ("stored", to_seconds(found.step.clause)),
            ("mend", found.step.mend),
        ]
    elif found.key is not None:
        since = "changed since, or never stored: the same request may be decided otherwise now"
        pairs.append(("check", since))
    session.out.result(data, card(pairs))


def _verdict(found: Explanation) -> str:
    if found.unguarded:
        return "not guarded: the path is exempt or outside of protect, so no check applies"
    if found.reason is None:
        reported = any(step.reported is not None for step in found.steps)
        return "allowed: what refuses it only reports" if reported else "allowed"
    return f"refused: {found.reason.value}. {MEANINGS[found.reason]}"


def _checks(found: Explanation) -> Table:
    rows = [
        (
            step.check,
            step.node,
            to_seconds(step.clause),
            _said(step),
        )
        for step in found.steps
    ]
    return table(("check", "node", "stored", "verdict"), rows, whole=("check", "node"))


def _said(step: Step) -> str:
    if step.reported is not None:
        return f"reported: {step.reported.value}"
    return "passes" if step.refused is None else step.refused.value


def _step(step: Step) -> dict[str, object]:
    return {
        "check": step.check,
        "node": step.node,
        "kind": step.kind,
        "stored": step.clause,
        "passes": step.refused is None,
        "reason": step.refused,
        "reported": step.reported,
        "mend": step.mend,
    }


def _facts(facts: RequestFacts) -> dict[str, object]:
    address = None if facts.address is None else unpack_address(facts.address)
    return {
        "method": facts.method,
        "path": facts.path,
        "ip": address,
        "tenant": facts.tenant,
        "model": facts.model,
        "access": facts.access,
        "scopes": list(facts.scopes),
        "in_header": facts.in_header,
    }


def _request_card(facts: RequestFacts) -> Table:
    known = _facts(facts)
    return card(
        [
            ("request", f"{facts.method} {facts.path}"),
            ("address", str(known["ip"] or "unknown")),
            ("tenant", facts.tenant or "unresolved"),
            ("model", facts.model or "unresolved"),
            ("access", facts.access),
            ("scopes", ", ".join(facts.scopes) or "none asked for"),
            ("key", "in a header" if facts.in_header else "in a query or a cookie"),
        ]
    )
