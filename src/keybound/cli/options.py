"""The options that keys, groups and changes share, and how they become what the verbs take."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from keybound.cli.bundles import NO_TYPE, Bundle
from keybound.core.durations import parse_duration
from keybound.core.errors import InputError, LimitError
from keybound.core.limits import Lifetime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keybound.options import ChangeOptions

_ALL, _NONE = "*", "[]"
_LIMITS = "Limits: '*' is all, '[]' is none; repeat an option, or separate by commas"
_CHANGES = "Changes"

Home = Annotated[
    str | None,
    typer.Option("--home", metavar="NAME", help="The tenant it belongs to; '[]' is none."),
]
NodeID = Annotated[str, typer.Argument(metavar="ID", help="Id of a key or group.")]
Metadata = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE|JSON", help="Whatever the application stores with it."),
]
Rights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="A right, such as report_only; repeat for more, '[]' is none."
    ),
]


def _limit(metavar: str, text: str) -> Any:  # noqa: ANN401 - what Typer returns
    return typer.Option(metavar=metavar, help=text, rich_help_panel=_LIMITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions(Bundle):
    """The options that limit a key or group, as they were typed."""

    tenant: Annotated[
        list[str], _limit("PATTERN", "Tenants it may act in: acme, R1/acme, '*/acme'.")
    ] = field(default_factory=list[str])
    network: Annotated[
        list[str], _limit("CIDR", "Client addresses: 10.0.0.0/8; '!10.1.2.3' excludes.")
    ] = field(default_factory=list[str])
    method: Annotated[list[str], _limit("GET", "HTTP methods.")] = field(default_factory=list[str])
    read_only: Annotated[
        bool | None,
        typer.Option(
            "--read-only/--no-read-only",
            metavar=NO_TYPE,
            help="Only read.",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    model: Annotated[list[str], _limit("NAME:read|write", "Resources of the API.")] = field(
        default_factory=list[str]
    )
    scope: Annotated[list[str], _limit("NAME", "Scopes that routes ask for.")] = field(
        default_factory=list[str]
    )
    hours: Annotated[
        list[str],
        _limit("WINDOW", "When: 'mon-fri 08:00-18:00 Europe/Zurich', 'daily 22:00-02:00 UTC'."),
    ] = field(default_factory=list[str])
    header_only: Annotated[
        bool | None,
        typer.Option(
            "--header-only/--no-header-only",
            metavar=NO_TYPE,
            help="The key in a header only.",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    expires_in: Annotated[str | None, _limit("90d", "Lifetime from now.")] = None
    expires_at: Annotated[
        str | None, _limit("MOMENT", "End of life, such as 2030-01-31T00:00:00Z.")
    ] = None
    not_before: Annotated[str | None, _limit("MOMENT", "Start of life.")] = None
    limit: Annotated[
        list[str], _limit("NAME=VALUE", "A limit of your own; the value is JSON or text.")
    ] = field(default_factory=list[str])

    @property
    def only_tenant(self) -> str | None:
        """The tenant, if exactly one is given and it is a plain name."""
        only = self.tenant[0] if len(self.tenant) == 1 else ""
        return None if only == _NONE or set(only) & {_ALL, ","} else only or None

    def values(self, now: float) -> dict[str, object]:
        """Return the limits that were given; ``now`` is POSIX seconds. Raises ``InputError``."""
        lists = {
            "tenants": self.tenant,
            "networks": self.network,
            "methods": self.method,
            "models": self.model,
            "scopes": self.scope,
            "hours": self.hours,
        }
        values: dict[str, object] = {
            name: _joined(name, given) for name, given in lists.items() if given
        }
        expires_at: str | datetime | None = self.expires_at
        if self.expires_in is not None:
            if expires_at is not None:
                fix = "write one of them"
                raise InputError("--expires-in", "and --expires-at are both given", fix=fix)
            expires_at = _end(self.expires_in, now)
        moments = {"not_before": self.not_before, "expires_at": expires_at}
        values |= {name: value for name, value in moments.items() if value is not None}
        switches = {"read_only": self.read_only, "header_only": self.header_only}
        values |= {name: value for name, value in switches.items() if value is not None}
        for text in self.limit:
            name, value = _named("--limit", text, example="geo=DE")
            if name in values:
                raise InputError("--limit", f"{name} is given twice", fix="write one of them")
            values[name] = _json_or_text(value)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFlags(Bundle):
    """The options of every change: whether to wait, to insist on a revision, or to only try."""

    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            metavar=NO_TYPE,
            help="Return when it holds everywhere, by the revoke_within that is set here.",
            rich_help_panel=_CHANGES,
        ),
    ] = False
    if_revision: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Fail if it was changed after revision N.", rich_help_panel=_CHANGES
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            metavar=NO_TYPE,
            help="Check everything, write nothing.",
            rich_help_panel=_CHANGES,
        ),
    ] = False

    def options(self) -> ChangeOptions:
        """Return the keyword arguments for a verb of a guard; what was not given is left out."""
        chosen: ChangeOptions = {"wait": self.wait, "dry_run": self.dry_run}
        if self.if_revision is not None:
            chosen["if_revision"] = self.if_revision
        return chosen


def read_metadata(given: Sequence[str]) -> dict[str, Any]:
    """Return one object of ``KEY=VALUE`` texts and JSON objects. Raises ``InputError``."""
    metadata: dict[str, Any] = {}
    for text in given:
        if text.lstrip().startswith("{"):
            try:
                metadata |= msgspec.json.decode(text, type=dict[str, Any])
            except msgspec.MsgspecError:
                fix = """write '{"plan": "pro"}'"""
                raise InputError("--metadata", "is no JSON object", fix=fix) from None
            continue
        name, value = _named("--metadata", text, example="plan=pro")
        metadata[name] = value
    return metadata


def read_home(text: str) -> str | None:
    """Return the home tenant that was typed, or ``None`` where ``[]`` takes it away."""
    return None if text == _NONE else text


def read_rights(given: Sequence[str]) -> list[str]:
    """Return the rights that were typed; ``[]`` is none. Raises ``InputError``."""
    names = [name.strip() for name in _joined("--right", given).split(",")]
    return [] if not given or names == [_NONE] else names


def read_moment(option: str, text: str) -> datetime:
    """Return an aware moment. Raises ``InputError`` naming the option."""
    try:
        life = Lifetime.parse({"not_before": text})
    except LimitError as error:
        raise InputError(option, error.problem, fix=error.fix) from None
    if life is None or life.not_before is None:
        raise InputError(option, "is no moment", fix="write 2030-01-31T00:00:00Z")
    return life.not_before


def _named(option: str, text: str, *, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(option, f"{text!r} has no name", fix=f"write {example}")
    return name, value


def _json_or_text(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _joined(name: str, given: Sequence[str]) -> str:
    if len(given) > 1 and _NONE in given:
        raise InputError(name, "'[]' is none, and more is given", fix="write one or the other")
    return ",".join(given)


def _end(text: str, now: float) -> str | datetime:
    if text == _ALL:
        return text
    return datetime.fromtimestamp(now, UTC) + timedelta(seconds=parse_duration("expires_in", text))
