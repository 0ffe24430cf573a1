"""``manage.py keybound ...``: the command line of keybound over the guard of this project."""

from __future__ import annotations

import sys
from argparse import REMAINDER
from typing import TYPE_CHECKING, cast

from django.core.management.base import BaseCommand, CommandError

from keybound.cli import main
from keybound.core.errors import SettingsError
from keybound.django.projects import guard

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence


class Command(BaseCommand):
    """Passes everything on: ``manage.py keybound issue --name CI`` and all other commands."""

    help = "Issue, narrow, explain and revoke API keys."
    requires_system_checks = ()  # whoever repairs a project needs its keys

    def run_from_argv(self, argv: list[str]) -> None:
        """Run a command of keybound, whose options are not Django's."""
        try:
            sys.exit(_run(argv[2:]))
        except CommandError as error:
            sys.exit(f"error: {error}")

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the arguments of ``call_command``."""
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *_args: object, **options: object) -> None:
        """Run a command of keybound."""
        status = _run(cast("list[str]", options["arguments"]))
        if status:
            sys.exit(status)


def _run(arguments: Sequence[str]) -> int:
    try:
        project = guard()
    except SettingsError as error:
        raise CommandError(str(error)) from None
    return main(arguments, guard=project)
