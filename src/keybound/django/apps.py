"""The application, as ``INSTALLED_APPS`` names it: ``keybound.django``."""

from __future__ import annotations

from django.apps import AppConfig


class KeyboundConfig(AppConfig):
    """Brings the checks and the command ``manage.py keybound``; there are no models."""

    name = "keybound.django"
    label = "keybound"
    verbose_name = "API keys"

    def ready(self) -> None:
        """Let ``manage.py check`` say what does not protect."""
        from keybound.django.checks import register_checks

        register_checks()
