"""The canary sees every kind of leak, says where it was, and lets everything else pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keybound.core.keys import KeyFormat
from tests import canary

ROOT = Path(__file__).parents[1]

PLANTED = """
import logging, sqlite3, sys, warnings
import opentelemetry.metrics
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from keybound import Guard, Limits, metrics
from keybound.core.limits import Clause
from tests import canary
from tests.shells.calls import Answer
from tests.cli.conftest import look_at_output

guard = Guard.from_settings(database="memory://")
key = guard.issue(name="planted").secret.reveal()
quiet = logging.getLogger("quiet")
quiet.setLevel(logging.CRITICAL)


def failing(secret=None):
    raise ValueError("x")


# Names say what the canary is expected to say.

def test_a_log_record_message():
    quiet.debug("the key is " + key)

def test_a_log_record_args():
    quiet.info("the key is %s", key)

def test_a_log_record_args_that_do_not_fit():
    quiet.info("no place", {"k": [key]}, 1)

def test_a_log_record_extra():
    quiet.debug("x", extra={"sent": {"authorization": b"Bearer " + key.encode()}})

def test_a_log_record_exc_info():
    try:
        raise ValueError("bad key " + key)
    except ValueError:
        quiet.debug("x", exc_info=True)

def test_a_log_record_cause():
    try:
        try:
            raise LookupError(key)
        except LookupError as error:
            raise ValueError("x") from error
    except ValueError:
        quiet.debug("x", exc_info=True)

def test_a_log_record_raw_in_Guard_authorize(monkeypatch):
    monkeypatch.setattr(guard.engine, "authorized", lambda *given, **named: failing())
    try:
        guard.authorize("GET", "/", None, b"Bearer " + key.encode())
    except ValueError:
        quiet.error("x", exc_info=True)

@pytest.mark.filterwarnings("default")
def test_a_warning():
    warnings.warn("odd key " + key)

def test_a_warning_recorded():
    with pytest.warns(UserWarning):
        warnings.warn("odd key " + key)

def test_an_expected_error_text():
    with pytest.raises(ValueError):
        raise ValueError("odd key " + key)

def test_an_expected_error_note():
    with pytest.raises(ValueError):
        error = ValueError("odd")
        error.add_note(key)
        raise error

def test_an_expected_error_context():
    with pytest.raises(ValueError):
        try:
            raise LookupError({"sent": key})
        except LookupError:
            raise ValueError("odd")

def test_a_response_body():
    Answer(200, (), b"your key: " + key.encode(), ())

def test_a_response_header():
    Answer(200, (("x-key", key),), b"", ())

def test_standard_output_of_a_command():
    look_at_output(["show", "key_1"], key, "")

def test_standard_output_of_a_command_twice():
    look_at_output(["issue"], key + " " + key, "")

def test_standard_error_of_a_command():
    look_at_output(["issue"], "", key)

def test_a_measurement_told(monkeypatch):
    monkeypatch.setitem(metrics._OPERATIONS, "Commit", key)
    guard.issue(name="another")

def test_a_measurement_asked_for(monkeypatch):
    reader = InMemoryMetricReader()
    opentelemetry.metrics.set_meter_provider(MeterProvider([reader]))
    reason = type("Odd", (), {"value": key})
    monkeypatch.setattr(type(guard.engine.refuser), "by_reason", lambda self, event: {reason: 1})
    reader.get_metrics_data()

def test_Captured_stdout():
    print(key)

def test_Captured_stderr():
    print(key, file=sys.stderr)

def test_the_file_keys_db(tmp_path):
    with sqlite3.connect(tmp_path / "keys.db") as database:
        database.execute("create table t (k blob)")
        database.execute("insert into t values (?)", [key.encode()])
    database.close()

def test_the_table_t_of_PostgreSQL():
    class Server:
        def execute(self, statement, database):
            return [("t",)] if "pg_tables" in statement else [(1, key.encode()), (2, None)]
    from tests.services.postgres import look_into
    look_into(Server(), "d", "s")

def test_Redis():
    class Client:
        def scan_iter(self):
            return [b"name"]
        def dump(self, name):
            return b"\\x00" + key.encode()
    from tests.services.redis import look_into
    look_into(Client())

@pytest.fixture
def leaving():
    yield
    quiet.debug(key)

def test_a_log_record_of_a_fixture(leaving):
    pass

def test_a_log_record_of_a_key_of_another_process():
    from keybound.core.keys import KeyFormat, _checksum
    start = "acme_prod_" + "a" * 32
    quiet.debug("\\n" + repr("\\n" + start + _checksum(start)))

def test_a_log_record_of_a_part():
    quiet.debug("the key ends with " + key[20:])


# And these pass.

def test_fine_kept():
    assert key.startswith("kb_live_")
    guard.authorize("GET", "/", None, b"Bearer " + key.encode())

def test_fine_issue():
    look_at_output(["issue", "--name", "x"], "id: key_1\\nkey: " + key, "")

def test_fine_wrong_checksum():
    quiet.debug("kb_live_" + "0" * 38)

def test_fine_hint():
    quiet.debug(key[:12] + " and a digest " + "0123456789abcdef" * 4)

def test_fine_dropped(caplog):
    quiet.error("nobody wants this")
    assert not caplog.records
    logging.getLogger("loud").warning("somebody wants this")
    assert len(caplog.records) == 1
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Run the planted tests, and return what pytest printed of each."""
    file = tmp_path_factory.mktemp("planted") / "test_planted.py"
    file.write_text(PLANTED, encoding="utf-8")
    options = ["-p", "tests.canary", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA"]
    command = [sys.executable, "-m", "pytest", *options, "-c", str(ROOT / "pyproject.toml"), file]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


FLAGS = re.MULTILINE | re.DOTALL
NAMES = re.findall(r"def (test_\w+)", PLANTED)
LEAKING = [name for name in NAMES if not name.startswith("test_fine")]


@pytest.mark.parametrize("name", LEAKING)
def test_a_planted_leak_fails_its_test(planted, name):
    """It fails, or its fixture does, and the report names the place."""
    assert re.search(rf"^(FAILED|ERROR) .*::{name}\b", planted, re.MULTILINE), planted
    block = re.search(rf"^_+ (?:ERROR at teardown of )?{name} _+$(.*?)^_", planted, FLAGS)
    assert block is not None, planted
    words = name.removeprefix("test_").split("_")
    place = next(line for line in block[1].splitlines() if "<key>" in line)
    said = re.sub(r"\W+", "_", place)
    assert said.startswith("_".join(words[: 2 if words[0] == "a" else 1])), place


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(LEAKING)))
def test_what_is_no_leak_passes(planted, name):
    """The key in the hand of a test, what issuing prints, and what only looks like a key."""
    assert re.search(rf"^PASSED .*::{name}\b", planted, re.MULTILINE), planted


def test_no_report_of_a_leak_has_the_key():
    """Whoever publishes the log of a test run publishes no key."""
    key = KeyFormat().generate(bytes(32)).reveal()
    canary.look("here", f"before {key} after", {"k": key})
    try:
        assert len(canary.LEAKS) == 2
        assert all("<key>" in leak and key[-4:] not in leak for leak in canary.LEAKS)
    finally:
        canary.LEAKS.clear()
