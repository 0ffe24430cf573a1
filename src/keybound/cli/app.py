"""The Typer application: every command by name, and how errors end a command."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from keybound.cli.bundles import NO_TYPE
from keybound.cli.changes import disable, enable, restrict, revoke, update
from keybound.cli.commands import command, spread
from keybound.cli.db import db
from keybound.cli.demo import demo
from keybound.cli.exits import MEANINGS, Ended, Exit, as_data, status_of
from keybound.cli.explaining import explain
from keybound.cli.groups import groups
from keybound.cli.installation import check, init
from keybound.cli.keys import issue, list_nodes, show
from keybound.cli.redis_acl import redis_acl
from keybound.cli.render import Output
from keybound.cli.session import Session
from keybound.core.errors import KeyboundError

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATUSES = "\n".join(
    ("Exit status:", *(f"  {status.value}  {meaning}" for status, meaning in MEANINGS.items()))
)

app = typer.Typer(
    name="keybound",
    help="Limited-access API keys: issue, narrow, explain and revoke them.",
    epilog=_STATUSES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # tracebacks with locals would print secrets
)
app.add_typer(groups, name="groups")
app.add_typer(db, name="db")


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"keybound {version('keybound')}\n")
        raise typer.Exit


def start(
    session: Session,  # it takes the global options that stand before a command
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar=NO_TYPE,
            help="Print the version.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Limited-access API keys: issue, narrow, explain and revoke them."""


def start_groups(session: Session) -> None:
    """Make groups; show, update, disable and all other commands take their ids."""


def start_db(session: Session) -> None:
    """Look after the tables of a store, after keybound was upgraded."""


app.callback()(spread(start))
groups.callback()(spread(start_groups))
db.callback()(spread(start_db))
command(app)(init)
command(app)(check)
command(app)(issue)
command(app, name="list")(list_nodes)
command(app)(show)
command(app)(restrict)
command(app)(update)
command(app)(enable)
command(app)(disable)
command(app)(revoke)
command(app, takes_unknown=True)(explain)  # an id of a denial may start with a dash
command(app, name="redis-acl")(redis_acl)
command(app)(demo)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status.

    What can be expected to go wrong is one line, or one JSON object, on standard error.
    """
    # Python prints warnings of loggers that nobody configured; commands say such things themselves.
    logging.getLogger("keybound").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may not fit the terminal
    out = Output(as_json="--json" in arguments)
    try:
        status = app(list(arguments) or ["--help"], prog_name="keybound", standalone_mode=False)
        sys.stdout.flush()
    except Ended as end:
        return int(end.status)
    except KeyboundError as error:
        out.error(as_data(error))
        return int(status_of(error))
    except typer.TyperException as error:
        usage = Exit.USAGE
        out.error({"kind": "usage", "message": error.format_message(), "exit": int(usage)})
        return int(usage)
    except typer.Abort:
        return int(Exit.NO)
    except BrokenPipeError:
        # Whoever reads has seen enough; nothing more may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.DONE)
    return int(status or 0)
