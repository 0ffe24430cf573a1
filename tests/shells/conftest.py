"""Every suite here runs over every shell."""

from __future__ import annotations

from tests.shells.fixtures import (
    asgi_shape,
    database,
    make,
    make_asgi,
    make_plain,
    shape,
    shared,
)

__all__ = ["asgi_shape", "database", "make", "make_asgi", "make_plain", "shape", "shared"]
