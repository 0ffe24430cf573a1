"""The commands of this application for ``manage.py``."""
