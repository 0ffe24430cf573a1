"""What the settings of a case are called here: one table, of functions that add to ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keybound import Route, Settings
from tests.security.outcomes import ComesLaterError, NotReplayableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REVOKE_WITHIN = 5.0

BASE_DOMAIN = "api.test"


@dataclass(slots=True)
class Chosen:
    """Settings of ours in the making: routes are put together at the end."""

    given: Mapping[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    scopes: Any = ()
    zone: str | None = None
    evaluator: str | None = None


def chosen(given: Mapping[str, Any]) -> Chosen:
    """Return our settings for those of a case; raises what keybound raises for wrong ones."""
    made = Chosen(given)
    for name, value in given.items():
        if name not in SETTINGS:
            msg = f"no setting of ours is for {name}"
            raise NotReplayableError(msg)
        SETTINGS[name](made, value)
    body = made.settings.get("model_from")
    made.routes += [Route(path, scopes=made.scopes, model=body) for path in made.models]
    if made.scopes or "required_scopes" in given:
        made.routes.append(Route("/*", scopes=made.scopes))
    if made.routes:
        made.settings["routes"] = tuple(made.routes)
    return made


def pattern_of(path: str) -> str:
    """Return a path pattern as we write it: everything beneath is ``*`` and only at the end."""
    if path.endswith("/**"):
        path = path.removesuffix("/**") + "/*"
    *within, last = path.replace("**", "{rest:path}").split("/")
    numbered = (f"{{any{at}}}" if each == "*" else each for at, each in enumerate(within))
    return "/".join([*numbered, last])


def _credentials(made: Chosen, value: list[str]) -> None:
    made.settings["credentials"] = tuple(_FORMS.get(name, name) for name in value)


_FORMS = {
    "x_api_key": "header(X-API-Key)",
    "rest_api_key": "param(rest_api_key)",
    "basic": "basic(username)",
    "basic_password": "basic(password)",
    "basic_user": "basic(username)",
    "authorization_token": "scheme(Token)",
    "token": "scheme(Token)",
    "query": "query(api_key)",
    "query_api_key": "query(api_key)",
    "query_access_token": "query(access_token)",
    "cookie": "cookie(api_key)",
}


def _tenant_from(made: Chosen, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, str) and value != "host":
        made.settings["tenant_from"] = value
    elif value == "host":
        domain = made.given.get("base_domain", BASE_DOMAIN)
        source = "forwarded_host" if made.given.get("trust_forwarded_host") else "host"
        made.settings["tenant_from"] = f"{source}({{tenant}}.{domain})"
    elif isinstance(value, dict) and value.keys() == {"header"}:
        made.settings["tenant_from"] = f"header({value['header']}, any)"
    elif isinstance(value, dict) and value.keys() == {"host"}:
        made.settings["tenant_from"] = f"host({value['host']})"
    elif isinstance(value, dict) and value.keys() == {"path"}:
        made.routes.append(Route(pattern_of(value["path"])))
    else:
        msg = f"no way to a tenant is like {value!r}"
        raise NotReplayableError(msg)


def _model_from(made: Chosen, value: Any) -> None:
    if isinstance(value, str):
        made.settings["model_from"] = value
        return
    known = {"path", "json_body"}
    if value is not None and not (isinstance(value, dict) and value.keys() <= known):
        msg = f"no way to a model is like {value!r}"
        raise NotReplayableError(msg)
    value = value or {}
    # What a route says of models, it says all of: so one with a path also says what the body does.
    if "path" in value:
        made.models.append(pattern_of(value["path"]))
    if "json_body" in value:
        fields = value["json_body"]
        listed = ", ".join(fields) if isinstance(fields, list) else fields
        made.settings["model_from"] = f"body({listed})"


def _trusted_proxies(made: Chosen, value: list[str]) -> None:
    if value:
        made.settings["trusted_proxies"] = tuple(value)
        header = str(made.given.get("forwarded_header", "x-forwarded-for"))
        # There are two; by any other one nobody is told, as the settings say by themselves.
        made.settings["client_ip"] = header.lower()


def _hops(made: Chosen, value: int) -> None:
    if value:
        made.settings["trusted_proxies"] = value
        made.settings["client_ip"] = "x-forwarded-for"


def _exempt(made: Chosen, value: list[str]) -> None:
    made.routes += [Route(pattern_of(path), auth="exempt") for path in value]


def _optional(made: Chosen, value: list[str]) -> None:
    made.routes += [Route(pattern_of(path), auth="optional") for path in value]


def _reads(made: Chosen, value: list[list[str]]) -> None:
    made.routes += [
        Route(pattern_of(path), methods=method, access="read") for method, path in value
    ]


def _safe_methods(made: Chosen, value: list[str]) -> None:
    """Let further methods read: the usual ones cannot be taken away."""
    further = set(value) - {"GET", "HEAD", "OPTIONS"}
    if further:
        made.routes.append(Route("/*", methods=further, access="read"))


def _scopes(made: Chosen, value: Any) -> None:
    made.scopes = Route("/*", scopes=value).scopes


def _bound(made: Chosen, value: Any) -> None:
    if value == 0:  # nothing at all is kept for that long: it is as short as can be
        value = _SHORTEST
    made.settings["revoke_within"] = Settings.load({"revoke_within": value}).revoke_within


_SHORTEST = 0.1
"""Seconds of the shortest bound that cases ask for."""


def _cache_for(made: Chosen, value: Any) -> None:
    """Set nothing if the bound is stated as well: a cache is only ever as old as that."""
    if "max_staleness" not in made.given:
        _bound(made, value)


def _recheck(made: Chosen, value: float | None) -> None:
    if value:
        made.settings |= {"close_on_revoke": True, "revoke_within": max(float(value), _SHORTEST)}


def _tenancy(made: Chosen, value: str) -> None:
    """Have tenancy where a tenant is required and nothing tells it: in routes that do not match."""
    if value == "required" and made.given.get("tenant_from") is None:
        made.routes.append(Route("/no-request-is-here/{tenant}/*"))
    elif value not in {"off", "required"}:
        made.settings["tenancy"] = value  # which there is not, so that it is refused


def _zone(made: Chosen, value: str) -> None:
    made.zone = value


def _evaluator(made: Chosen, value: str) -> None:
    made.evaluator = value


def _as(name: str) -> Callable[[Chosen, Any], None]:
    """Return what sets a setting of ours to the same value."""

    def put(made: Chosen, value: Any) -> None:
        made.settings[name] = value

    return put


def always(_made: Chosen, _value: Any) -> None:
    """Set nothing: it is always so here, as strictly as anybody asks for."""


def _with_others(_made: Chosen, _value: Any) -> None:
    """Leave it to the setting that it belongs to."""


def _later(part: str) -> Callable[[Chosen, Any], None]:
    def refuse(_made: Chosen, _value: Any) -> None:
        raise ComesLaterError(part)

    return refuse


SETTINGS: dict[str, Callable[[Chosen, Any], None]] = {
    "base_domain": _with_others,
    "cache_mac": always,
    "cache_ttl": _cache_for,
    "custom_evaluator": _evaluator,
    "exempt_paths": _exempt,
    "exempt_preflight": _as("exempt_preflight"),
    "forwarded_header": _with_others,
    "hide_credentials": _as("hide_credentials"),
    "lookup_hash": always,
    "max_body_inspect": _as("body_max"),
    "max_credential_length": always,
    "max_staleness": _bound,
    "model_from": _model_from,
    "optional_auth_paths": _optional,
    "process_tz": _zone,
    "rate_limit": _later("rate limits"),
    "read_only_extra": _reads,
    "realm": _as("realm"),
    "required_scopes": _scopes,
    "reveal_reason": _as("reveal_reason"),
    "safe_methods": _safe_methods,
    "sources": _credentials,
    "strict_method_override": always,
    "tenancy": _tenancy,
    "tenant_from": _tenant_from,
    "trust_forwarded_host": _with_others,
    "trusted_hops": _hops,
    "trusted_proxies": _trusted_proxies,
    "wildcard_scopes": _as("wildcard_scopes"),
    "ws_recheck_seconds": _recheck,
}
