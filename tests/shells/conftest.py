"""Every suite here runs over every shell."""

from __future__ import annotations

from tests.shells.fixtures import make, make_anywhere, make_plain, shape, shared, store

__all__ = ["make", "make_anywhere", "make_plain", "shape", "shared", "store"]
