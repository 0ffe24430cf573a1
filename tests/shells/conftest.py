"""Every suite here runs over every shell."""

from __future__ import annotations

from tests.shells.fixtures import (
    asgi_shape,
    make,
    make_asgi_in_memory,
    make_in_memory,
    make_plain,
    shape,
    shared,
)

__all__ = [
    "asgi_shape",
    "make",
    "make_asgi_in_memory",
    "make_in_memory",
    "make_plain",
    "shape",
    "shared",
]
