"""Every example runs as its docstring says, and does what it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Example:
    """A running example: the keys that it printed, and where it serves."""

    def __init__(self, keys: dict[str, str], url: str) -> None:
        """Know both."""
        self.keys = keys
        self.url = url

    def send(self, request: str, key: str = "", form: str = "Bearer {}") -> tuple[int, Any]:
        """Send ``METHOD /path`` with one of the keys; return status and body."""
        method, path = request.split()
        headers = {"Authorization": form.format(self.keys[key])} if key else {}
        asked = Request(self.url + path, method=method, headers=headers)  # noqa: S310 - our server
        try:
            with urlopen(asked, timeout=10) as answer:  # noqa: S310 - our server
                return answer.status, read(answer.read())
        except HTTPError as refusal:
            with refusal:
                return refusal.code, read(refusal.read())


def read(body: bytes) -> Any:
    """Return JSON, or text that is none."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


@contextmanager
def running(name: str, *arguments: str) -> Iterator[Example]:
    """Start an example as people do, on a free port, and end it as they do."""
    command = [sys.executable, str(EXAMPLES / name), *arguments, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if found := re.search(r"[Rr]unning on (http://\S+)", line):
                    keys = dict(re.findall(r"^([A-Z]+)=(\S+)$", said, re.MULTILINE))
                    yield Example(keys, found[1])
                    break
            else:
                pytest.fail(f"{name} did not start:\n{said}")
        finally:
            process.terminate()
            process.stdout.read()


@pytest.fixture(params=["alone", "with Redis"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run an example as it is, and with a Redis that the environment names, which it then uses."""
    if request.param == "alone":
        yield
        return
    server = request.getfixturevalue("redis_named")("valkey")
    server.ensure()
    database = server.next_database()
    monkeypatch.setenv("KEYBOUND_REDIS", server.url(database))
    with server.client(database) as client:
        client.flushdb()
        yield
        assert client.dbsize() > 0


PROGRAMS = [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/manage.py")]


@pytest.mark.parametrize("path", sorted(PROGRAMS), ids=lambda path: path.name)
def test_example_says_how_it_is_run(path: Path):
    """The docstring has the one command that starts it."""
    name = path.relative_to(EXAMPLES).as_posix()
    assert f"    python examples/{name}" in path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("cache")
def test_starlette_example():
    """Keys of one tenant, one of them only reading, and a scope that Starlette asks for."""
    with running("starlette_app.py") as example:
        send = example.send
        assert send("GET /health") == (200, "ok")
        assert send("GET /v1/acme/messages")[0] == 401
        status, body = send("GET /v1/acme/messages", "READER")
        assert (status, body) == (200, {"messages": "listed", "tenant": "acme", "by": "reader"})
        assert send("POST /v1/acme/messages", "READER")[1]["reason"] == "method_not_allowed"
        assert send("POST /v1/acme/messages", "FULL")[0] == 200
        assert send("GET /v1/evil/messages", "FULL")[1]["reason"] == "tenant_mismatch"
        assert send("GET /v1/acme/reports", "FULL", "rest_api_key={}")[0] == 200
        assert send("GET /v1/acme/reports", "READER")[0] == 403


@pytest.mark.usefixtures("cache")
def test_fastapi_example():
    """What operations require is enforced, and is in the document."""
    with running("fastapi_app.py") as example:
        send = example.send
        assert send("GET /") == (200, "Hello!")
        assert send("GET /v1/acme/invoices")[0] == 401
        status, body = send("GET /v1/acme/invoices", "READER")
        assert (status, body) == (200, {"invoices of": "acme", "to": "reader"})
        assert send("POST /v1/acme/invoices", "READER")[1]["reason"] == "method_not_allowed"
        assert send("POST /v1/acme/invoices/search", "READER")[0] == 200
        assert send("GET /v1/evil/invoices", "FULL")[1]["reason"] == "tenant_mismatch"
        assert send("POST /v1/acme/invoices", "FULL", "rest_api_key={}")[0] == 200
        document = send("GET /openapi.json")[1]
        assert {"bearer", "rest_api_key"} == set(document["components"]["securitySchemes"])
        assert document["paths"]["/v1/{tenant}/invoices"]["post"]["security"]
        assert "security" not in document["paths"]["/"]["get"]
        assert send("GET /docs")[0] == 200


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ["asgi_raw.py", "wsgi_raw.py"])
def test_example_without_a_framework(name: str):
    """The same over ASGI and WSGI: an open path, limits, and a scope that the application asks."""
    with running(name) as example:
        send = example.send
        assert send("GET /health") == (200, "ok")
        assert send("GET /acme/messages")[0] == 401
        assert send("GET /acme/messages", "READER") == (200, {"tenant": "acme", "by": "reader"})
        assert send("POST /acme/messages", "READER")[1]["reason"] == "method_not_allowed"
        assert send("GET /evil/messages", "FULL")[1]["reason"] == "tenant_mismatch"
        assert send("GET /elsewhere", "FULL")[1]["reason"] == "tenant_unresolved"
        assert send("POST /acme/messages", "FULL", "rest_api_key={}")[0] == 200


@pytest.mark.usefixtures("cache")
def test_flask_example():
    """What views and blueprints require is enforced, and refusals look as the site says."""
    with running("flask_app.py") as example:
        send = example.send
        assert send("GET /") == (200, "Hello!")
        status, body = send("GET /v1/acme/invoices/")
        assert (status, body["error"], body["reason"]) == (401, "Credentials required", "")
        status, body = send("GET /v1/acme/invoices/", "READER")
        assert (status, body) == (200, {"invoices of": "acme", "to": "reader"})
        assert send("GET /v1/acme/invoices", "READER") == (status, body)
        assert send("POST /v1/acme/invoices/", "READER")[1]["reason"] == "method_not_allowed"
        assert send("POST /v1/acme/invoices/search", "READER") == (200, ["acme-001"])
        assert send("GET /v1/evil/invoices/", "FULL")[1]["reason"] == "tenant_mismatch"
        assert send("POST /v1/acme/invoices/", "FULL", "rest_api_key={}")[0] == 200
        assert send("POST /v1/acme/invoices/search", "FULL")[1] == ["acme-001", "acme-draft"]
        assert send("GET /v1/acme/nothing", "READER")[0] == 403


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("server", [[], ["--asgi"]], ids=["wsgi", "asgi"])
def test_django_example(server: list[str]):
    """What views ask for, whose keys they are, and no CSRF token for who has a key."""
    with running("django_project/manage.py", "demo", *server) as example:
        send = example.send
        assert send("GET /") == (200, "Hello!")
        assert send("GET /api/acme/orders")[0] == 401
        status, body = send("GET /api/acme/orders", "READER")
        assert (status, body) == (200, {"orders of": "acme", "to": "alice"})
        assert send("POST /api/acme/orders", "READER")[0] == 403
        status, body = send("POST /api/acme/orders/search", "READER")
        assert (status, body) == (200, {"found for": "acme", "to": "alice"})
        assert send("GET /api/evil/orders", "FULL")[1]["reason"] == "tenant_mismatch"
        assert send("POST /api/acme/orders", "FULL", "rest_api_key={}")[0] == 200
        assert send("GET /api/acme/report", "FULL")[0] == 200
        assert send("GET /api/acme/report", "READER")[0] == 403


def test_django_example_is_set_up_well():
    """``manage.py check`` has nothing to say of keybound."""
    command = [sys.executable, str(EXAMPLES / "django_project" / "manage.py"), "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "no issues" in done.stdout
