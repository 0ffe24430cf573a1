"""What is typed at a command line, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.security.outcomes import NotReplayableError
from tests.security.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.security.calls import Calls

VERBS = {"keys create": ["issue"], "keys list": ["list"], "keys show": ["show"]}
"""Commands as a case has them, and ours."""

KEY = re.compile(r"kb_live_[0-9A-Za-z]{38}")


def typed(calls: Calls, argv: Sequence[str]) -> None:
    """Type a command; a key that it makes is on standard output, once, and nowhere else."""
    program, *rest = argv
    verb = VERBS.get(" ".join(rest[:2]))
    if program != "keybound" or verb is None:
        msg = f"no command of ours is for {' '.join(argv)}"
        raise NotReplayableError(msg)
    database = calls.tools.folder / "typed.db"
    done = subprocess.run(
        [Path(sys.executable).parent / "keybound", *verb, *rest[2:]],
        cwd=calls.tools.folder,
        env=os.environ | {"KEYBOUND_DATABASE": str(database), "KEYBOUND_SECRET": SECRET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == (calls.case.expected.status or 0), done.stderr
    if "secret_on_stdout_once" in calls.case.expected.also:
        assert len(KEY.findall(done.stdout)) == 1
    assert not KEY.findall(done.stderr)
