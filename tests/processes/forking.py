"""Forks again and again while threads and tasks are in the middle of everything.

    python -m tests.processes.forking DATABASE FORKS [REDIS]

Every child has to decide, refuse, issue and revoke. One that hangs says where, and is an error, and
so is a file that somebody finds damaged. A machine that is too busy is none: a 503 is asked again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from keybound import Guard, Reason
from keybound.core.decision import Denied
from keybound.core.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

KEYS = 12
FORKERS = 2
CHILD_MAY_TAKE = 60
SECRET = "a secret of the tests of processes"

logger = logging.getLogger(__name__)

elsewhere = Guard.from_settings(database="memory://").issue(name="elsewhere")
UNKNOWN = b"Bearer " + elsewhere.secret.reveal().encode()


def main(database: str, forks: int, redis: str | None) -> int:
    """Return 0 when all of so many children did all of it."""
    warnings.simplefilter("ignore", DeprecationWarning)  # that threads and forks do not go together
    logging.basicConfig(stream=sys.stderr, format="%(process)d %(message)s")
    logging.getLogger("keybound").addFilter(end_for_damage)
    logging.getLogger("keybound.denials").addHandler(logging.NullHandler())
    guard = Guard.from_settings(
        database=database,
        secret=SECRET,
        redis=redis,
        redis_timeout=0.2,
        revoke_within=0.6,
        store_connections=4,
    )
    issued = [guard.issue(name=f"key {number}") for number in range(KEYS)]
    raws = [b"Bearer " + each.secret.reveal().encode() for each in issued]
    over, failed = threading.Event(), list[str]()
    busy: list[Callable[[], None]] = [
        lambda: decide(guard, raws),
        lambda: decide(guard, raws),
        lambda: decide_in_a_loop(guard, raws),
        lambda: change(guard),
        guard.engine.renew,
    ]

    def work(what: Callable[[], None]) -> None:
        while not over.is_set():
            what()
            time.sleep(0.001)

    left = iter(range(forks))

    def fork() -> None:
        for number in left:
            failed.extend(failures_of_child(lambda: child(guard, raws), str(number)))

    threads = [threading.Thread(target=work, args=(each,)) for each in busy]
    forkers = [threading.Thread(target=fork) for _ in range(FORKERS - 1)]
    for thread in threads + forkers:
        thread.start()
    fork()
    for thread in forkers:
        thread.join()
    over.set()
    for thread in threads:
        thread.join()
    child(guard, raws)  # the parent can do the same, after all of them
    for each in failed:
        print(each, file=sys.stderr)  # noqa: T201 - for the test
    return 1 if failed else 0


def decide(guard: Guard, raws: list[bytes]) -> None:
    """Decide about every key, and refuse one."""
    for raw in random.sample(raws, len(raws)):
        guard.authorize("GET", "/", None, raw)
    guard.authorize("GET", "/", None, UNKNOWN)


def decide_in_a_loop(guard: Guard, raws: list[bytes]) -> None:
    """Do the same in tasks."""

    async def all_of_them() -> None:
        twin = guard.to_async()
        await asyncio.gather(*(twin.authorize("GET", "/", None, raw) for raw in raws))

    asyncio.run(all_of_them())


def change(guard: Guard) -> None:
    """Issue a key and revoke it."""
    with suppress(StoreUnavailableError):
        guard.revoke(guard.issue(name="short").id)


def child(guard: Guard, raws: list[bytes]) -> None:
    """Do everything a worker does."""
    for raw in raws[:2]:
        assert insist(partial(decided, guard, raw)) is None
    assert insist(lambda: decided(guard, UNKNOWN)) is Reason.UNKNOWN_KEY
    decide_in_a_loop(guard, raws)
    own = insist(lambda: guard.issue(name="own"))
    raw = b"Bearer " + own.secret.reveal().encode()
    assert insist(lambda: decided(guard, raw)) is None
    insist(lambda: guard.revoke(own.id))
    assert insist(lambda: decided(guard, raw)) is Reason.REVOKED


def decided(guard: Guard, raw: bytes) -> Reason | None:
    """Return why a key is refused, if it is."""
    outcome = guard.authorize("GET", "/", None, raw)
    reason = outcome.reason if isinstance(outcome, Denied) else None
    if reason is Reason.STORE_UNAVAILABLE:
        raise StoreUnavailableError(reason)
    return reason


def insist(ask: Callable[[], T]) -> T:
    """Ask until the store has time."""
    while True:
        with suppress(StoreUnavailableError):
            return ask()


def end_for_damage(record: logging.LogRecord) -> bool:
    """End this process if a file is damaged, and let all else be written."""
    if "damaged" in record.getMessage():
        os._exit(3)
    return True


def failures_of_child(work: Callable[[], None], name: str) -> list[str]:
    """Fork a child for some work, and return what became of it, unless it was done."""
    pid = os.fork()
    if pid == 0:
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            logger.exception("child %s", name)
        finally:
            os._exit(status)
    ends = time.monotonic() + CHILD_MAY_TAKE
    while time.monotonic() < ends:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return [f"child {name} ended with {code}"] if code else []
        time.sleep(0.005)
    os.kill(pid, signal.SIGUSR1)
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return [f"child {name} hung"]


if __name__ == "__main__":
    database, forks, *redis = sys.argv[1:]
    sys.exit(main(database, int(forks), redis[0] if redis else None))
