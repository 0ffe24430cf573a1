"""A process that is forked while a thread of it does something."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

LOCKS = {
    "the rules are being read": lambda app: app.extensions["keybound"]._declarations._lock,  # noqa: SLF001
    "a table is being compiled": lambda app: app.extensions["keybound"].guard.engine._renewing,  # noqa: SLF001
    "the store is being asked": lambda app: app.extensions["keybound"].guard.engine.store._lock,  # noqa: SLF001
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("lock_of", LOCKS.values(), ids=LOCKS)
def test_child_does_not_wait_for_a_thread_of_its_parent(app, guard, client, key, lock_of: Any):
    """What a thread held in the parent is held by nobody in the child."""
    headers = key()
    lock = lock_of(app)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held():
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if client.get("/v1/home", headers=headers).status_code == 200 else 2
        finally:
            os._exit(status)
    ended, status = 0, 0
    for _ in range(100):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        threading.Event().wait(0.1)
    else:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    done.set()
    thread.join()
    assert ended == pid
    assert os.waitstatus_to_exitcode(status) == 0
    assert guard.engine.table
