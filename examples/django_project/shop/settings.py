"""The settings of the project: three of them are keybound's."""

from __future__ import annotations

from pathlib import Path
from secrets import token_urlsafe

SECRET_KEY = token_urlsafe(32)  # of Django, for sessions; a real project keeps one
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path("shop.sqlite3")}}
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "keybound.django",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "keybound.django.middleware.APIKeyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
KEYBOUND = {"PROTECT": ["/api/*"], "OWNER": "shop.keys.load_owner"}
