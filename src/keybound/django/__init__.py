"""Django: an application, a middleware, and the setting ``KEYBOUND``.

    INSTALLED_APPS += ["keybound.django"]
    MIDDLEWARE = [..., "keybound.django.middleware.APIKeyMiddleware", ...]
    KEYBOUND = {"PROTECT": ["/api/*"], "OWNER": "app.keys.load_owner"}

The middleware stands behind ``CorsMiddleware``, if there is one, and in front of
``CsrfViewMiddleware`` and of whatever answers from a cache; ``manage.py check`` says so otherwise,
and what does not protect does not start.

``request.api_key`` is the identity, or ``None``. Views say what they ask for with ``@requires``,
which is decided before the view runs, or with ``require``. ``guard()`` and ``async_guard()`` issue
and change keys.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError

try:
    from django import VERSION
except ModuleNotFoundError as error:
    package = (error.name or "django").partition(".")[0]
    raise MissingExtraError(package, extra="django") from None
if VERSION < (5, 2):
    msg = f"Django {VERSION[0]}.{VERSION[1]} is too old: pip install 'keybound[django]'"
    raise ImportError(msg)

from keybound.django.demands import require, requires
from keybound.django.sites import async_guard, guard

__all__ = ["async_guard", "guard", "require", "requires"]
