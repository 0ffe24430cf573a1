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

Every answer that depends on a key has ``Vary: Authorization``, so that caches keep those of
different keys apart. Never mark one ``Cache-Control: public``: other caches may then ignore it.
Where a key is optional, ``cache_page`` stores the answer before it is marked: put
``vary_on_headers("Authorization")`` beneath it.
"""

from __future__ import annotations

from keybound.core.errors import MissingExtraError

try:
    from django import VERSION
except ModuleNotFoundError as error:
    raise MissingExtraError.of(error, extra="django") from None
if VERSION < (5, 2, 15) or (6, 0) <= VERSION < (6, 0, 6):
    # Its cache answers one key with what it answered another: CVE-2026-35193.
    version = ".".join(map(str, VERSION[:3]))
    msg = f"Django {version} is too old: pip install -U 'keybound[django]'"
    raise ImportError(msg)

from keybound.django.demands import require, requires
from keybound.django.joining import joining
from keybound.django.projects import async_guard, guard

__all__ = ["async_guard", "guard", "joining", "require", "requires"]
