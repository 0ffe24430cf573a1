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
    before, _, path = rest.partition("?")[0].partition("/")
    if before.count("@") > 1 or "@" in path:  # libpq would take what follows for host or name
        raise SettingsError("database", "has an @ that is not escaped", fix=_FIX)
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
    """Raise ``SettingsError`` for values that would make every connection fail, or not be safe."""
    for name, (form, fix) in _FORMS.items():
        value = parameters.get(name)
        if value is not None and re.fullmatch(form, value) is None:
            raise SettingsError("database", f"has a {name} that cannot work", fix=fix)


_NUMBER = r"\d{1,9}", "write a whole number"
_FORMS: dict[str, tuple[str, str]] = {
    "port": (r"\d{1,5}(,\d{1,5})*", _FIX),
    "connect_timeout": (r"[1-9]\d{0,8}", "write a whole number of seconds; 0 would be for ever"),
    "keepalives": (r"[01]", "write 0 or 1"),
    "keepalives_idle": _NUMBER,
    "keepalives_interval": _NUMBER,
    "keepalives_count": _NUMBER,
    "tcp_user_timeout": _NUMBER,
    "sslmode": (
        "disable|allow|prefer|require|verify-ca|verify-full",
        "write require, verify-ca or verify-full",
    ),
    "target_session_attrs": (
        "any|primary|read-write",
        "leave it out: keys can only be checked at the primary",
    ),
    "load_balance_hosts": ("disable|random", "write disable or random"),
    "replication": ("false|off|no|0", "leave it out"),
}
"""Options with what their values look like, and the fix for any other; the rest is libpq's."""
