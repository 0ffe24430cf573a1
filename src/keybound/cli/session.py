"""What every command has: the global options, the guard they lead to, and where to print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keybound.cli.bundles import NO_TYPE, Bundle
from keybound.cli.render import Output
from keybound.clocks import SystemClock
from keybound.core.effects import Sync
from keybound.core.errors import InputError, KeyboundError, StoreError, StoreMissingError
from keybound.engine import Engine
from keybound.guard import BaseGuard, Guard
from keybound.plugins import load_dimensions
from keybound.settings import Settings
from keybound.stores import open_store
from keybound.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from keybound.stores import Store

APPLICATION: ContextVar[BaseGuard | None] = ContextVar("keybound_application", default=None)
"""The guard of the application whose own command line this is, as in ``flask keybound``."""

_PANEL = "Global options, before or after the command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals(Bundle):
    """The options of every command, before or after its name."""

    app: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:GUARD",
            help="Use the Guard or AsyncGuard of an application, with its settings and routes.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read settings from this TOML file, not from ./keybound.toml.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Path of the SQLite file, or URL of another store.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar=NO_TYPE, help="Print JSON for scripts.", rich_help_panel=_PANEL
        ),
    ] = False
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", metavar=NO_TYPE, help="Do not ask for confirmation.", rich_help_panel=_PANEL
        ),
    ] = False

    def over(self, others: Globals | None) -> Globals:
        """Return these options, and those of ``others`` that are not given here."""
        if others is None:
            return self
        names = [member.name for member in fields(self)]
        return Globals(**{name: getattr(self, name) or getattr(others, name) for name in names})


class Session:
    """What one command works with: the options that were chosen, its guard, and its output."""

    def __init__(self, chosen: Globals) -> None:
        """Take the global options; no store and no file is opened before it is needed."""
        self.chosen = chosen
        self.out = Output(as_json=chosen.as_json)

    @contextmanager
    def guard(self, *, create: bool = False) -> Generator[Guard]:
        """Lend the guard that the global options, environment and settings file lead to.

        Unless the command may ``create`` the store, a missing one is a ``StoreError``: in the wrong
        directory, people see that there are no keys, and no empty store is left there.
        """
        guard = self.find_guard()
        location = guard.engine.store.location
        self.out.note(f"keys are in {location}")
        if not create and not store_exists(guard.engine.store):
            raise missing(location)
        try:
            yield guard
        finally:
            guard.close()

    def find_guard(self) -> Guard:
        """Return the guard without opening its store. Raises ``InputError``."""
        chosen = self.chosen
        load_dimensions()
        application = APPLICATION.get()
        if application is not None:
            if chosen.app or chosen.settings or chosen.database:
                raise InputError("--app", "is the application already", fix="leave it out")
            return Guard(application.engine)
        if chosen.app is None:
            given = {} if chosen.database is None else {"database": chosen.database}
            settings = Settings.load(given, file=chosen.settings)
            store = open_store(settings.database, connections=settings.store_connections)
            return Guard(Engine(settings, store, SystemClock(), background=False))
        if chosen.settings or chosen.database:
            fix = "leave --settings and --database out"
            raise InputError("--app", "has its own settings and store", fix=fix)
        return Guard(import_guard(chosen.app).engine)

    @property
    def reads_settings(self) -> bool:
        """Whether they are read for this command, and are not those of an application."""
        return self.chosen.app is None and APPLICATION.get() is None

    def confirm(self, question: str) -> bool:
        """Return what the person at the terminal answers; without one, ``--yes`` is needed."""
        if self.chosen.yes:
            return True
        if not sys.stdin.isatty():
            problem = "needs a confirmation, and there is no terminal to ask at"
            raise InputError("--yes", problem, fix="add --yes if it is meant")
        return typer.confirm(question, err=True)


def store_exists(store: Store) -> bool:
    """Return whether a store was made; what is wrong with it shows when it is opened."""
    location = store.location
    if location == MemoryStore.location:
        return True  # it comes with its process
    if "://" not in location and not Path(location).exists():
        return False
    try:
        store.perform(Sync(0))
    except StoreMissingError:
        return False
    except StoreError:
        return True
    return True


def missing(location: str) -> StoreMissingError:
    """Return the error of a command that makes no store and finds none."""
    msg = f"{location} does not exist: `keybound init` makes it, --database names another"
    return StoreMissingError(msg)


def import_guard(name: str) -> BaseGuard:
    """Return the guard that ``module:attribute`` names, looked for from the working directory."""
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise InputError("--app", f"{name!r} names no guard", fix="write module:guard")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found: object = import_module(module_name)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except KeyboundError:
        raise
    except Exception as error:
        # The text of somebody else's error may hold anything; that a name is missing is plain.
        plain = isinstance(error, ImportError | AttributeError)
        said = str(error) if plain else type(error).__qualname__
        fix = f"try: python -c 'import {module_name}'"
        raise InputError("--app", f"{name!r} cannot be imported ({said})", fix=fix) from error
    if not isinstance(found, BaseGuard):
        kind = type(found).__qualname__
        raise InputError("--app", f"{name!r} is {kind}, no guard", fix="name a Guard or AsyncGuard")
    return found
