"""Django as all tests of this process have it: set up once, without a settings module."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.signals import setting_changed

MIDDLEWARE = "keybound.django.middleware.APIKeyMiddleware"

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "keybound.django",
        ],
        KEYBOUND={"DATABASE": "memory://"},
        LOGGING_CONFIG=None,  # what other tests expect of logging stays
        MIDDLEWARE=[MIDDLEWARE],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="tests.django.catch_all",
        SECRET_KEY="a secret of these tests, used for their sessions alone",
        USE_TZ=True,
    )
    django.setup()


def forget_guard() -> None:
    """Let the next use make another guard."""
    setting_changed.send(sender=None, setting="KEYBOUND", value=None, enter=False)
