"""What the project promises as a whole: its package, its words, and every snippet of its pages."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, fields
from http import HTTPStatus
from importlib import metadata, resources
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

import keybound
from keybound import Settings
from keybound.clocks import SystemClock
from keybound.core.decision import Denied
from keybound.core.limits import Clause
from keybound.core.reasons import Reason
from keybound.core.refusals import PROBLEM_TYPE, REFUSALS
from keybound.engine import Engine
from keybound.sources import ENVIRONMENT_PREFIX
from keybound.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

DEMO = "python3 -m venv .venv && .venv/bin/pip install -q '.[standard]' && .venv/bin/keybound demo"
SUITE = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox"

HEAVY = {
    "aiosqlite",
    "alembic",
    "django",
    "fastapi",
    "flask",
    "httpx",
    "hypothesis",
    "psycopg",
    "pydantic",
    "pytest",
    "redis",
    "rich",
    "sqlalchemy",
    "starlette",
    "typer",
    "uvicorn",
}

MACHINE_PATH = re.compile(r"(?<![\w.*-])/(?:work|root|farm)/")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs", re.IGNORECASE)


# ------------------------------------------------------------------------------------ the package


def test_version_is_that_of_the_installed_package():
    """The version is written once, and what runs is what stands in this folder."""
    assert metadata.version("keybound") == PROJECT["version"]


def test_package_says_that_it_is_typed():
    """Whoever installs keybound gets its types."""
    assert resources.files("keybound").joinpath("py.typed").is_file()


def test_import_loads_no_framework_and_no_client():
    """``import keybound`` costs nothing but keybound itself: extras load where they are used."""
    loaded = run_python("-c", "import keybound, sys; print(*sys.modules)").split()
    assert not HEAVY & set(loaded)


def test_every_public_name_is_there():
    """What the package says that it has can be imported from it, and is found by completion."""
    assert set(keybound.__all__) < set(dir(keybound))
    for name in keybound.__all__:
        assert getattr(keybound, name).__name__ == name


@pytest.mark.parametrize("group", ["console_scripts", "pytest11"])
def test_entry_point_leads_to_something(group: str):
    """The command and the pytest plugin that the package announces exist."""
    (point,) = metadata.entry_points(group=group, name="keybound")
    assert point.load() is not None


def test_extra_that_an_error_names_exists():
    """Whoever follows the advice of an error or a page can install what it names."""
    named = {
        extra.strip()
        for path, text in project_texts()
        if path.is_relative_to(ROOT / "src") or path in PAGES
        for group in re.findall(r"keybound\[([a-z, ]+)\]|extra=\"([a-z]+)\"", text)
        for extra in "".join(group).split(",")
    }
    assert named <= set(PROJECT["optional-dependencies"])


# -------------------------------------------------------------------------------------- the words


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["path", "host"])
def test_no_file_names_a_machine(pattern: re.Pattern[str]):
    """The project works wherever it is cloned, with whatever registry is configured there."""
    named = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path, text in project_texts()
        for found in pattern.finditer(text)
    }
    assert named == set()


def test_changelog_has_a_place_for_what_is_coming():
    """A change that users can notice has a section of the changelog to stand in."""
    headings = re.findall(r"^## \[(.+?)\]", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert {"Unreleased", PROJECT["version"]} & set(headings)


def test_readme_names_all_that_a_clause_demands():
    """Whoever writes a limit of their own from the page alone has a class that can be used."""
    (described,) = re.findall(
        r"A limit of your own is .*?\n\n", read(ROOT / "README.md"), re.DOTALL
    )
    assert Clause.__abstractmethods__ | {"dimension"} <= set(re.findall(r"`(\w+)`", described))


def test_docs_page_of_the_readme_is_open(tmp_path: Path):
    """Whoever copies the FastAPI example can open its docs page, and its operations need a key."""
    (example,) = (each.text for each in snippets() if "FastAPI()" in each.text)
    requests = (
        "from starlette.testclient import TestClient\n"
        "with TestClient(app) as client:\n"
        "    answers = [client.get(path) for path in ('/docs', '/openapi.json')]\n"
        "    answers.append(client.post('/v1/search'))\n"
        "print([answer.status_code for answer in answers])\n"
    )
    assert run_python("-c", f"{example}\n{requests}", folder=tmp_path) == "[200, 200, 401]\n"


FRAMEWORKS = {
    "Starlette": ("Starlette(routes=", "from starlette.testclient import TestClient\n"),
    "FastAPI": ("FastAPI()", "from starlette.testclient import TestClient\n"),
    "Flask": ("kb = Keybound(app)  #", "TestClient = lambda app: app.test_client()\n"),
}
COMMAND = "import sys; sys.argv[0] = 'keybound'; from keybound.cli import main; sys.exit(main())"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_key_of_the_readme_opens_the_example(name: str, tmp_path: Path):
    """Whoever copies an example and issues the key on the command line is served as it says."""
    mark, client = FRAMEWORKS[name]
    page = read(ROOT / "README.md")
    example = next(each.text for each in snippets() if mark in each.text)
    (tmp_path / "app.py").write_text(example, encoding="utf-8")
    (issue,) = re.findall(r"^\$ keybound --app app:guard (issue .*)$", page, re.MULTILINE)
    command = ["-c", COMMAND, "--app", "app:guard"]
    if name == "Flask":
        command = ["-m", "flask", "keybound"]
    made = run_python(*command, *shlex.split(issue), "--json", folder=tmp_path)
    key = json.loads(made)["key"]
    answers = re.findall(r"^\$ curl -X POST \S+:8000(\S+)(.*)\n(.*)$", page, re.MULTILINE)
    assert len(answers) == 2
    for path, header, shown in answers:
        headers = {"Authorization": f"Bearer {key}"} if "$KEY" in header else {}
        request = (
            f"from app import app\n{client}"
            f"print(TestClient(app).post({path!r}, headers={headers!r}).text.strip())\n"
        )
        assert run_python("-c", request, folder=tmp_path).startswith(shown.removesuffix(" ..."))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_example_of_the_readme_is_guarded(name: str, tmp_path: Path):
    """Whoever copies an example refuses who has no key, and serves the right one alone."""
    mark, client = FRAMEWORKS[name]
    example = next(each.text for each in snippets() if mark in each.text)
    requests = (
        f"{client}"
        "from keybound.guard import BaseGuard, Guard\n"
        "guard = Guard([*BaseGuard.live][-1].engine)\n"
        "limits = {'scopes': ['invoices'], 'models': {'invoice': 'read'}}\n"
        "keys = [guard.issue(name='CI', limits=each) for each in (limits, {'scopes': ['other']})]\n"
        "client = TestClient(app)\n"
        "print(client.post('/v1/search').status_code)\n"
        "for key in keys:\n"
        "    headers = {'Authorization': 'Bearer ' + key.secret.reveal()}\n"
        "    print(client.post('/v1/search', headers=headers).status_code)\n"
    )
    assert run_python("-c", f"{example}\n{requests}", folder=tmp_path) == "401\n200\n403\n"


def test_readme_has_every_setting():
    """Nobody needs to read the source for what can be set, nor for how to install it."""
    text = read(ROOT / "README.md")
    settings = {field.name for field in fields(Settings)}
    assert settings <= set(re.findall(r"`(\w+)`", text))
    for extra in PROJECT["optional-dependencies"]:
        assert re.search(rf"keybound\[{extra}\]|`{extra}`", text) or extra in {
            "cli",
            "sql",
            "starlette",
        }


def test_django_project_of_the_readme_is_guarded(tmp_path: Path):
    """Whoever copies the two files has a project that refuses who has no key, and serves a key."""
    for each in snippets():
        if each.name in {"settings.py", "urls.py"}:
            (tmp_path / each.name).write_text(each.text, encoding="utf-8")
    requests = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "from keybound.django import guard\n"
        "key = guard().issue(name='CI', tenant='acme', limits={'scopes': ['invoices']})\n"
        "headers = {'Authorization': 'Bearer ' + key.secret.reveal()}\n"
        "for given in ({}, headers):\n"
        "    print(Client().post('/v1/search', headers=given).status_code)\n"
    )
    command = f"import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n{requests}"
    assert run_python("-c", command, folder=tmp_path) == "401\n200\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path):
    """Whoever follows a link finds the page, and the heading that it names."""
    missing: set[str] = set()
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(page)):
        name, _, heading = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        headings = re.findall(r"^#+ (.*)$", read(found), re.MULTILINE) if found.is_file() else []
        anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
        if not found.exists() or (heading and heading not in anchors):
            missing.add(target)
    assert missing == set()


def test_every_page_is_in_the_readme():
    """Whoever reads on from there misses none."""
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", read(ROOT / "README.md")))
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("command", [DEMO, SUITE], ids=["demo", "suite"])
def test_readme_has_the_two_commands(command: str):
    """A newcomer needs two lines: one that shows keybound at work, one that tests it."""
    assert command in read(ROOT / "README.md")


def test_ci_runs_what_the_readme_says():
    """What is tested elsewhere is what a newcomer is told to type."""
    assert SUITE in read(ROOT / ".ci" / "run")


# ----------------------------------------------------------------------------------- the snippets


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    files: Mapping[str, str]
    """What earlier blocks of the page are called and contain."""

    @property
    def name(self) -> str | None:
        """The file that a first line such as ``# app.py`` says it is."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found is not None and self.language == "python" else None

    def __str__(self) -> str:
        """Return where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets() -> Iterator[Snippet]:
    """Yield every fenced block of every page."""
    fence = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
    for page in PAGES:
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        files: dict[str, str] = {}
        for found in fence.finditer(text):
            snippet = Snippet(
                page=page,
                line=text.count("\n", 0, found.start()) + 1,
                language=found[3].strip(),
                text=dedent(found[4]),
                files=dict(files),
            )
            if snippet.name is not None:
                files[snippet.name] = snippet.text
            yield snippet


@pytest.mark.parametrize("snippet", list(snippets()), ids=str)
def test_snippet_works(snippet: Snippet, tmp_path: Path):
    """What a page shows works in a folder with what the page put there."""
    for name, text in snippet.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    CHECKS[snippet.language](snippet.text, tmp_path)


def check_python(text: str, folder: Path) -> None:
    """Run a program, or the tests that it defines."""
    path = folder / "test_snippet.py"
    path.write_text(text, encoding="utf-8")
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in text else []
    run_python(*tests, str(path), folder=folder)


def check_commands(text: str, folder: Path) -> None:
    """Run what stands behind ``$``, one after another in one folder; ``curl`` runs elsewhere."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            _, command, *arguments = shlex.split(line, comments=True)
            assert command in {"keybound", "curl"}, f"{command} is run by nobody"
            if command == "keybound":
                run_python("-c", COMMAND, *arguments, folder=folder)


def check_shell(text: str, _folder: Path) -> None:
    """See that the lines are those that other tests run, or set what can be set."""
    for line in text.splitlines():
        found = re.match(r"export (\w+)=", line)
        setting = "" if found is None else found[1].removeprefix(ENVIRONMENT_PREFIX).lower()
        assert line in {DEMO, SUITE} or setting in {field.name for field in fields(Settings)}


def check_settings(text: str, folder: Path) -> None:
    """Start with the settings file, whose every name and value must work."""
    (folder / "keybound.toml").write_text(text, encoding="utf-8")
    run_python("-c", "import keybound; keybound.Settings.load()", folder=folder)


def check_json(text: str, _folder: Path) -> None:
    """Read JSON."""
    json.loads(text)


def check_refusal(text: str, _folder: Path) -> None:
    """Compare with the refusal for the same reason: status line, header names, and the body."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    shown = json.loads(body)
    kind = shown["type"].removeprefix(PROBLEM_TYPE)
    (first_of_kind, *_) = (each for each in Reason if REFUSALS[each].problem == kind)
    settings = Settings(database="memory://")
    engine = Engine(settings, open_store("memory://"), SystemClock(), background=False)
    reason, scopes = Reason(shown.get("reason", first_of_kind)), tuple(shown.get("scopes", ()))
    real = engine.refuser.refuse(Denied(reason, scopes=scopes))
    said = json.loads(real.body)
    assert first == f"HTTP/1.1 {real.status} {HTTPStatus(real.status).phrase}"
    headers = [tuple(line.split(": ", 1)) for line in lines]
    assert sorted(name for name, _ in headers) == sorted(name for name, _ in real.headers)
    differing = {name for name, _ in {*headers} ^ {*real.headers}}
    assert differing <= {"keybound-denial", "content-length"}
    assert list(shown) == list(said)
    assert shown | {"id": ""} == said | {"id": ""}


CHECKS: dict[str, Callable[[str, Path], None]] = {
    "python": check_python,
    "console": check_commands,
    "sh": check_shell,
    "toml": check_settings,
    "json": check_json,
    "http": check_refusal,
}


# --------------------------------------------------------------------------------------- together


def run_python(*arguments: str, folder: Path = ROOT) -> str:
    """Return what this interpreter prints, free of settings from outside; it must succeed."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("KEYBOUND_")
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def project_texts() -> Iterator[tuple[Path, str]]:
    """Yield every file of the project that is text, except what tools leave behind."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name == ".ci" or not (name.startswith((".", "__")) or name in LEFT_BEHIND)
        ]
        for name in set(names) - LEFT_BEHIND:
            path = Path(folder, name)
            try:
                yield path, read(path)
            except UnicodeDecodeError:
                continue


LEFT_BEHIND = {".coverage", ".git", "build", "dist", "htmlcov"}


def read(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")
