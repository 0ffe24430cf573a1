"""Headers in which a served application says what it saw."""

from __future__ import annotations

SEEN, TOLD = "x-seen", "x-told"
