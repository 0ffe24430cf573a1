"""What a request of Django costs with keybound in its stack, as ratios to no middleware at all.

    python benchmarks/django_inprocess.py [--rounds 60]

The whole policy on a warm key, from configured routes and from what a view requires; refusals; and
as floors a middleware that does nothing, and keybound's plain WSGI middleware around Django. Then
the same in the stack of middleware that ``startproject`` sets up, as a ratio to that stack.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
from types import ModuleType
from typing import TYPE_CHECKING

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path
from timing import Case, measure, report

import keybound.wsgi
from keybound import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

TARGET = 1.10
OURS = "keybound.django.middleware.APIKeyMiddleware"
WHOLE = "keybound, whole policy, warm key"
REQUIRED = "keybound, the same, as a view requires"
STARTED = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def home(_request: HttpRequest) -> HttpResponse:
    """Answer the smallest thing."""
    return HttpResponse("ok", content_type="text/plain")


class Nothing:
    """The least that any middleware with ``process_view`` costs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Go in front of ``get_response``."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass it on."""
        return self.get_response(request)

    def process_view(self, *_arguments: object) -> None:
        """Do nothing."""


def set_up() -> bytes:
    """Set Django up, and return the credential of a key that is limited in everything."""
    routes = [
        {"path": "/tenants/{tenant}/invoices", "model": "invoice"},
        {"path": "/", "model": "message", "tenant": "acme", "scopes": "rest"},
    ]
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
            "keybound.django",
        ],
        KEYBOUND={"DATABASE": "memory://", "ROUTES": routes},
        LOGGING_CONFIG=None,
        MIDDLEWARE=[],
        ROOT_URLCONF=ModuleType("urls"),
        SECRET_KEY="of a benchmark",  # noqa: S106 - it protects nothing
    )
    django.setup()
    from keybound.django import guard, requires

    required = requires("rest", model="message", tenant="~")(home)
    settings.ROOT_URLCONF.urlpatterns = [path("", home), path("required", required)]
    limits = Limits(
        read_only=True,
        methods=["GET", "HEAD"],
        networks=["203.0.113.0/24", "!203.0.113.9"],
        models={"message": "read"},
        scopes=["rest"],
    )
    issued = guard().issue(name="benchmark", tenant="acme", expires_in="90d", limits=limits)
    return b"Bearer " + issued.secret.reveal().encode()


def stack(*middleware: str) -> WSGIHandler:
    """Return Django with these middleware."""
    settings.MIDDLEWARE = list(middleware)
    return WSGIHandler()


def cases(good: bytes) -> list[Case]:
    """Return the cases; the first is the base of the others."""
    from keybound.django import guard

    base, started = "Django", "Django, as startproject sets it up"
    bare, ours = stack(), stack(OURS)
    nothing = stack(f"{__name__}.{Nothing.__name__}")
    around = keybound.wsgi.APIKeyMiddleware(bare, guard())
    return [
        Case(base, bare, good, kind="wsgi"),
        Case("a middleware that does nothing", nothing, good, base, kind="wsgi"),
        Case("keybound.wsgi around Django", around, good, base, kind="wsgi"),
        Case(WHOLE, ours, good, base, kind="wsgi"),
        Case(REQUIRED, ours, good, base, path="/required", kind="wsgi"),
        Case("keybound, no key", ours, None, base, 401, kind="wsgi"),
        Case(started, stack(*STARTED), good, kind="wsgi"),
        Case(
            f"{WHOLE}, in that",
            stack(*STARTED[:3], OURS, *STARTED[3:]),
            good,
            started,
            kind="wsgi",
        ),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    good = set_up()
    logging.disable()  # Django says of every refusal that it is one
    timings = asyncio.run(measure(cases(good), rounds=rounds))
    print(
        f"Python {platform.python_version()}, Django {django.__version__}, {rounds} rounds, "
        f"load {os.getloadavg()[0]:.2f}"
    )
    print(report(timings))
    print(f"target: the whole policy on a warm key at most {TARGET} of Django")


if __name__ == "__main__":
    main()
