"""Caches of what the store said."""
