"""The settings of a project behind a real server: nothing but what protects it."""

from __future__ import annotations

ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["keybound.django"]
KEYBOUND = {"PROTECT": ["/api/*"]}
MIDDLEWARE = [
    "keybound.django.middleware.APIKeyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "tests.django.served"
SECRET_KEY = "the secret of a project behind a real server, for tests"
USE_TZ = True
