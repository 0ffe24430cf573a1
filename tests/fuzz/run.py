"""Fuzz targets with atheris: ``python tests/fuzz/run.py --seconds 10 [target ...]``.

Each target has a process and so many seconds of its own, two at a time, and starts from its
corpus. The status is 1 if one of them fails; its input is then printed as the line that belongs
into the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
INPUT_MAX = 10_000
"""Bytes of the longest input."""

JOBS = 2
"""Targets at a time."""

EVERY_TIME = (
    *("credential", "places", "address", "forwarded", "path", "body", "record", "request"),
)
"""What is fuzzed where nobody chose."""


def main() -> int:
    """Fuzz the targets that are named, or all of them."""
    parser = argparse.ArgumentParser(description="Fuzz what reads text of strangers.")
    parser.add_argument("--seconds", type=int, default=10, help="for each target")
    parser.add_argument("--all", action="store_true", help="not only what is read of every request")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if find_spec("atheris") is None and sys.platform != "linux":
        print("atheris is for Linux: the corpus is all that is tried here, by tests/fuzz")
        return 0
    if given.inside:
        fuzz(given.targets[0], given.seconds)
    from tests.fuzz.targets import TARGETS

    names = given.targets or (list(TARGETS) if given.all else EVERY_TIME)
    with ThreadPoolExecutor(JOBS) as pool:
        passed = list(pool.map(partial(passes, seconds=given.seconds), names))
    failed = [name for name, well in zip(names, passed, strict=True) if not well]
    print(f"failed: {', '.join(failed)}" if failed else f"{len(names)} targets, nothing failed")
    return 1 if failed else 0


def passes(name: str, *, seconds: int) -> bool:
    """Fuzz one target in a process of its own, and say how that went."""
    command = [sys.executable, __file__, "--inside", "--seconds", str(seconds), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    log = done.stderr.splitlines()
    ended = [line for line in log if line.startswith("Done ")] or ["stopped"]
    said = "" if done.returncode == 0 else "\n".join(["", done.stdout, *log[-60:]])
    print(f"{name}: {ended[-1]}{said}", flush=True)
    return done.returncode == 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["keybound.core"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.harness import attempt, corpus, escaped

    target = TARGETS[name]

    def once(data: bytes) -> None:
        try:
            attempt(target, data)
        except BaseException:
            print(f"add this line to tests/fuzz/corpus/{name}.txt:\n{escaped(data)}", flush=True)
            raise

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus(name)):
            (Path(folder) / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-max_len={INPUT_MAX}", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", folder], once)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
