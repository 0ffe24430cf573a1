"""``manage.py demo``: two keys, requests to try, and a server."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.management.base import BaseCommand
from django.core.servers import basehttp
from django.core.wsgi import get_wsgi_application
from django.db import connection

from keybound import Limits
from keybound.django import guard

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Serve the project, with databases that are gone afterwards."""

    help = "Issue two keys, say what to try, and serve."
    requires_system_checks = ()  # they would ask for the guard before its database is chosen

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a port, and which kind of server."""
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--asgi", action="store_true", help="with uvicorn, not Django's own")

    def handle(self, *_arguments: str, **options: int) -> None:
        """Do all of it."""
        with TemporaryDirectory() as folder:
            os.environ["KEYBOUND_DATABASE"] = str(Path(folder, "keys.db"))
            os.environ["KEYBOUND_SECRET"] = token_urlsafe(32)
            connection.creation.create_test_db(verbosity=0)  # in memory, as testserver has it
            User.objects.create_user("alice")
            prepare(options["port"])
            serve(options["port"], asgi=bool(options["asgi"]))


def prepare(port: int) -> None:
    """Issue keys, and say what to try."""
    full = guard().issue(name="full", tenant="acme", owner="alice", limits=Limits(scopes=["shop"]))
    reader = guard().issue(
        name="reader",
        tenant="acme",
        owner="alice",
        limits=Limits(read_only=True, models={"order": "read"}),
    )
    url = f"http://127.0.0.1:{port}"
    print(f"FULL={full.secret.reveal()}")
    print(f"READER={reader.secret.reveal()}")
    print(f"curl {url}/")
    print(f'curl {url}/api/acme/orders -H "Authorization: Bearer $READER"')
    print(f'curl {url}/api/acme/orders -H "Authorization: Bearer $READER" -X POST')
    print(f'curl {url}/api/acme/orders/search -H "Authorization: Bearer $READER" -X POST')
    print(f'curl {url}/api/evil/orders -H "Authorization: Bearer $FULL"')
    print(f'curl {url}/api/acme/orders -H "Authorization: rest_api_key=$FULL" -X POST', flush=True)


def serve(port: int, *, asgi: bool) -> None:
    """Serve until the end."""
    if asgi:
        import uvicorn

        uvicorn.run(get_asgi_application(), port=port, lifespan="off")
        return

    def say(bound: str) -> None:
        print(f"running on http://127.0.0.1:{bound}", flush=True)

    basehttp.run("127.0.0.1", port, get_wsgi_application(), threading=True, on_bind=say)
