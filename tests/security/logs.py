"""Everything that is logged, warned of, or raised while a case runs; no secret may be in it."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.security.keyring import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator


class Log(logging.Handler):
    """Keeps every record of every logger, formatted as a site would."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        super().__init__(level=0)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []
        self.other: list[str] = []
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; what an error in it says is kept apart, since it has several lines."""
        self.records.append(record)
        try:
            self.lines.append(f"{record.levelname} {record.name} {record.getMessage()}")
            if record.exc_info:
                self.other.append(self.format(record))
        except Exception:  # noqa: BLE001 - that it fails is what is noted
            self.failed = True

    def check(self) -> None:
        """Assert that nothing holds a secret."""
        for line in (*self.lines, *self.other):
            assert MARK not in line, "a secret was logged"
        for record in self.records:
            ours = record.name.partition(".")[0] == "keybound"  # frameworks add whole requests
            assert not ours or MARK not in str(record.__dict__), "a record holds a secret"


@contextmanager
def listening() -> Iterator[Log]:
    """Yield what is logged meanwhile, down to the finest level; warnings are among it."""
    log = Log()
    ours = [logging.getLogger(), logging.getLogger("keybound")]
    levels = [logger.level for logger in ours]
    for logger in ours:
        logger.setLevel(logging.DEBUG)
    ours[0].addHandler(log)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield log
            log.other += [str(each.message) for each in warned]
            told = [each for each in warned if not issubclass(each.category, ResourceWarning)]
            assert not told, f"a warning: {told[0].category.__name__}: {told[0].message}"
    finally:
        ours[0].removeHandler(log)
        for logger, level in zip(ours, levels, strict=True):
            logger.setLevel(level)
