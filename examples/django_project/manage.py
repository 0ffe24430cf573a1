"""A Django project whose API needs a key.

    python examples/django_project/manage.py demo [--port 8000] [--asgi]

It issues two keys in databases that are gone afterwards, and prints requests to try. ``manage.py
check`` says whether the project is protected, ``manage.py keybound issue --name CI`` makes a key.
With KEYBOUND_REDIS=redis://localhost:6379/0 in the environment it shares keys over Redis.
"""

from __future__ import annotations

import os

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line()
