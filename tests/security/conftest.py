"""The cases of a run, each a test whose id is its own."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from keybound.core.keys import KeyFormat, Peppers
from tests.security.cases import OWN, load
from tests.security.keyring import Secrets
from tests.security.replay import Tools
from tests.security.worlds import RedisPlace
from tests.services.redis_process import WHEELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.security.cases import Case

_SERVER = "valkey"


def catalogue(config: pytest.Config) -> dict[str, Case]:
    """Return the cases that were asked for."""
    chosen: Path = (config.getoption("--cases") or OWN).absolute()
    known: dict[Path, dict[str, Case]] = config.stash.setdefault(_CASES, {})
    if chosen not in known:
        known[chosen] = load(chosen)
    return known[chosen]


_CASES: pytest.StashKey[dict[Path, dict[str, Case]]] = pytest.StashKey()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes a ``case`` every case there is."""
    if "case" in metafunc.fixturenames:
        cases = catalogue(metafunc.config)
        metafunc.parametrize("case", list(cases.values()), ids=list(cases))


@pytest.fixture(scope="session")
def _database(redis_named: Any) -> Callable[[], RedisPlace | None]:
    """Return what gives an empty database of a real server, or nothing where there is none."""
    places: dict[int, RedisPlace] = {}
    number = count()

    def database() -> RedisPlace | None:
        if find_spec(WHEELS[_SERVER]) is None:
            return None
        server = redis_named(_SERVER)
        server.ensure()
        at = next(number) % 8
        if at not in places:
            places[at] = RedisPlace(server, at, server.client(at))
        places[at].client.flushdb()
        return places[at]

    return database


@pytest.fixture(scope="session")
def tools(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _database: Callable[[], RedisPlace | None],
) -> Iterator[Tools]:
    """Return what every case of the run shares."""
    folder = tmp_path_factory.mktemp("security")
    yield Tools(
        cases=catalogue(request.config),
        folder=folder,
        redis=_database,
        full=bool(request.config.getoption("--full")),
    )
    for file in folder.glob("*.db*"):
        file.unlink()


@pytest.fixture
def secrets() -> Secrets:
    """Return the secrets of a world that has no keys yet."""
    return Secrets(KeyFormat("kb", "live"), Peppers(None))


@pytest.fixture(autouse=True)
def _in_a_folder(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where a file that an attack makes is seen, and where nobody's settings are."""
    monkeypatch.chdir(tools.folder)
