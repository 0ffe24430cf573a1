"""A PostgreSQL URL: libpq reads it, so whatever libpq knows may stand in it."""

from __future__ import annotations

import re
from itertools import zip_longest
from urllib.parse import quote

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict

from keybound.core.errors import SettingsError, nearest

EXAMPLE = "postgresql://user:password@host:5432/database"

_FIX = f"write {EXAMPLE}, with %-escapes for odd characters"
_UNKNOWN = re.compile(r'invalid URI query parameter: "(\w+)"')
_DRIVER = "psycopg"


def parse(database: str) -> dict[str, str]:
    """Return the connection parameters that a URL names; raises ``SettingsError``.

    Nothing of the URL is repeated in the error but the name of an unknown option: a password that
    was not escaped may stand anywhere.
    """
    scheme, _, rest = database.partition("://")
    driver = scheme.partition("+")[2].lower()
    if driver not in {"", _DRIVER}:
        fix = "write postgresql://, and install 'keybound[postgres]'"
        raise SettingsError("database", f"is for the driver {driver}, not {_DRIVER}", fix=fix)
    try:
        found = conninfo_to_dict(f"postgresql://{rest}")
    except ProgrammingError as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown is None:
            raise SettingsError("database", "is no PostgreSQL URL", fix=_FIX) from None
        known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
        problem, fix = f"has an unknown option {unknown[1]!r}", nearest(unknown[1], known)
        raise SettingsError("database", problem, fix=fix) from None
    parameters = {name: str(value) for name, value in found.items()}
    _check(parameters)
    return parameters


def place(parameters: dict[str, str]) -> str:
    """Return the URL of a database without password and options, for people and for errors."""
    user, name = parameters.get("user"), parameters.get("dbname")
    hosts = parameters.get("host", parameters.get("hostaddr", "")).split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    pairs = zip_longest(hosts, ports, fillvalue="")
    where = ",".join(f"{_host(host)}:{port}" if port else _host(host) for host, port in pairs)
    who = f"{quote(user, safe='')}@" if user else ""
    return f"postgresql://{who}{where}" + (f"/{quote(name, safe='')}" if name else "")


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _check(parameters: dict[str, str]) -> None:
    """Raise ``SettingsError`` for options that libpq would refuse, or that would not be safe."""
    ports = parameters.get("port", "")
    if not re.fullmatch(r"(\d{1,5}(,(?=\d)|$))*", ports):
        raise SettingsError("database", "has a port that is no number", fix=_FIX)
    wanted = parameters.get("target_session_attrs")
    if wanted in {"read-only", "standby"}:
        fix = "leave it out: keys can only be checked at the primary"
        raise SettingsError("database", f"asks for target_session_attrs={wanted}", fix=fix)
    if parameters.get("replication", "false") not in {"false", "off", "no", "0"}:
        raise SettingsError("database", "asks for replication", fix="leave it out")
