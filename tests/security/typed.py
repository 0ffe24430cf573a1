"""What is typed at a command line, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keybound import Guard, Settings
from keybound.engine import Engine
from keybound.stores import open_store
from keybound.testing import FakeClock
from tests.security.outcomes import NotReplayableError
from tests.security.texts import text
from tests.security.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.security.calls import Calls

VERBS = {"create": "issue", "new": "issue", "delete": "revoke", "remove": "revoke"}
"""What a case calls a verb, where it is another one than ours."""

OPTIONS = {
    "--scopes": "--scope",
    "--models": "--model",
    "--methods": "--method",
    "--ips": "--network",
    "--ip": "--network",
    "--expires": "--expires-at",
}
"""Options in the same way."""

KEY = re.compile(r"kb_live_[0-9A-Za-z]{38}")


def typed(calls: Calls, argv: Sequence[str]) -> None:
    """Type a command; a key that it makes is on standard output, once, and nowhere else.

    A command that is refused says so by its exit status, and shows nothing of the program.
    """
    program, *rest = [text(each, calls.words) for each in argv]
    if program != "keybound":
        msg = f"no command of ours is for {program}"
        raise NotReplayableError(msg)
    done = subprocess.run(
        [Path(sys.executable).parent / "keybound", *_ours(rest)],
        cwd=calls.tools.folder,
        env=os.environ | {"KEYBOUND_DATABASE": _database(calls), "KEYBOUND_SECRET": SECRET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    expected = calls.case.expected
    assert (done.returncode == 0) == (expected.decision in {"allow", "check"}), done.stderr
    assert "Traceback" not in done.stderr
    if "secret_on_stdout_once" in expected.also:
        assert len(KEY.findall(done.stdout)) == 1
    assert not KEY.findall(done.stderr)


def _ours(words: Sequence[str]) -> list[str]:
    """Return the words of a command as we have them: keys are what our verbs are about."""
    if words[:1] in (["keys"], ["key"]):
        words = [VERBS.get(each, each) if at == 0 else each for at, each in enumerate(words[1:])]
    return [OPTIONS.get(each, each) for each in words if each != "--id"]


def _database(calls: Calls) -> str:
    """Return where the keys of the commands are, in a store that there is."""
    path = calls.tools.folder / "typed.db"
    if not path.exists():
        store = open_store(str(path))
        guard = Guard(
            Engine(Settings(secret=SECRET), store, FakeClock(), background=False)  # type: ignore[arg-type]
        )
        guard.open()
        guard.close()
    return str(path)
