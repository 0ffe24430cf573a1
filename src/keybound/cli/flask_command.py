"""``flask keybound ...``: the command line over the guard of a Flask application.

Flask loads it wherever keybound is installed, so it imports nothing of ours until it is used.
"""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext

_AS_GIVEN = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("keybound", context_settings=_AS_GIVEN, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def command(arguments: tuple[str, ...]) -> None:
    """Issue, narrow, explain and revoke the API keys of the application."""
    from flask import current_app

    from keybound.cli import main
    from keybound.flask.protection import protection_of

    try:
        guard = protection_of(current_app).given
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(main(arguments, guard=guard))
