"""A process that is forked while the rules are being read."""

from __future__ import annotations

import os
import threading

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_does_not_wait_for_a_thread_of_its_parent(app, guard, client, key):
    """What a thread held in the parent is held by nobody in the child."""
    headers = key()
    declarations = app.extensions["keybound"]._declarations  # noqa: SLF001
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with declarations._lock:  # noqa: SLF001
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
