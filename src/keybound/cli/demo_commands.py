"""The commands that ``keybound demo`` prints: each can be copied as it stands."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keybound.sources import ENVIRONMENT_PREFIX, FILE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keybound.core.routes import Route
    from keybound.guard import Guard

HOST = "127.0.0.1"
"""Where the demo serves: nobody else can reach it."""

_PORT = 8000
_OWNER_ONLY = 0o600
_REQUESTS = (
    ("full", "Bearer {}", ""),
    ("reader", "rest_api_key={}", "-X POST "),
    ("office", "Bearer {}", ""),
)
_ROUTE = ("path", "methods", "model", "access", "scopes", "tenant", "auth")


def serve_line(port: int) -> str:
    """Return the command that keeps the demo up, on a port that is known beforehand."""
    return f"{_program()} demo --serve --port {port or _PORT}"


def keyless_curls(port: int) -> list[str]:
    """Return requests without a key: the first is refused, the second needs none."""
    url = f"http://{HOST}:{port or _PORT}"
    return [f"curl -i {url}{path}" for path in ("/domains/acme/messages", "/healthz")]


def curls(url: str, keys: Mapping[str, str]) -> list[str]:
    """Return requests with keys that work, of which one is let through."""
    lines: list[str] = []
    for name, form, options in _REQUESTS:
        header = shlex.quote(f"Authorization: {form.format(keys[name])}")
        lines.append(f"curl -i {options}-H {header} {url}/domains/acme/messages")
    return lines


def explain_line(settings_file: Path, denial: str) -> str:
    """Return the command that opens the id of a denial, whatever this environment sets."""
    overriding = sorted(
        name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE
    )
    without = "".join(f"-u {shlex.quote(name)} " for name in overriding)
    command = f"{_program()} --settings {shlex.quote(str(settings_file))} explain {denial}"
    return f"env {without}{command}" if without else command


def write_settings(file: Path, guard: Guard) -> None:
    """Write the settings of a guard into a new file that its owner alone may read."""
    settings = guard.settings
    secret = settings.secret.reveal() if settings.secret is not None else ""
    values = {
        "database": guard.engine.store.location,
        "secret": secret,
        "environment": settings.environment,
    }
    lines = ["[keybound]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
    for route in settings.routes:
        lines += ["", "[[keybound.routes]]", *_members(route)]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write("\n".join(lines) + "\n")


def _members(route: Route) -> Iterator[str]:
    for name in _ROUTE:
        value = getattr(route, name)
        if value:
            yield f"{name} = {_toml(value if isinstance(value, str) else sorted(value))}"


def _toml(value: object) -> str:
    # Texts and lists of texts look alike in TOML and in JSON.
    return json.dumps(value, ensure_ascii=False)


def _program() -> str:
    """Return what starts this program here: its name, or its path where it is not on PATH."""
    typed = Path(sys.argv[0])
    found = typed.name != "keybound" or shutil.which("keybound") is not None
    return "keybound" if found else shlex.quote(str(typed))
