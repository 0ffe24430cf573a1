"""Functions of a site, given to settings themselves or by their names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from keybound import Settings, SettingsError
from keybound.core.bodies import BodyFields
from keybound.core.tenants_of import FunctionTenant
from keybound.plugins import SiteFunction, named_function, site_function
from tests.core.heads import FakeHead

if TYPE_CHECKING:
    from pathlib import Path

HERE = f"{__name__}:answer"


def answer(_head):
    """Answer."""
    return "acme"


class Inside:
    """Has a function."""

    @staticmethod
    def answer(_head):
        """Answer."""
        return "inner"


@pytest.mark.parametrize(("name", "said"), [(HERE, "acme"), (f"{__name__}:Inside.answer", "inner")])
def test_function_is_imported_when_it_is_called(name: str, said: str):
    """Also one that is a member of something."""
    assert SiteFunction("owner", name)(FakeHead()) == said
    assert site_function("owner", name)(FakeHead()) == said


@pytest.mark.parametrize("name", ["", "os", "os:", ":path", "os path:x", "os:1", "a-b:c", "os:x()"])
def test_text_that_names_nothing_is_refused_at_start(name: str):
    """The setting is named, and how to write it."""
    with pytest.raises(SettingsError, match=r"authenticators.*package.module:function"):
        SiteFunction("authenticators", name)
    assert named_function("tenant_from", name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests.absent:x", "No module named"),
        (f"{__name__}:absent", "has no attribute"),
        (f"{__name__}:HERE", "is str, no function"),
        ("site_that_fails:x", r"\(RuntimeError\)"),
    ],
)
def test_function_that_cannot_be_had_is_an_error_of_the_setting(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without what foreign code says."""
    (tmp_path / "site_that_fails.py").write_text("raise RuntimeError('hunter2')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=said) as caught:
        SiteFunction("authenticators", name)(FakeHead())
    assert str(caught.value).startswith("authenticators")
    assert "hunter2" not in str(caught.value)


def test_what_is_no_function_is_refused():
    """Neither called nor named."""
    with pytest.raises(SettingsError, match="is int, no function"):
        site_function("authenticators", 7)
    assert site_function("authenticators", answer) is answer
    assert named_function("tenant_from", answer) is answer


def test_settings_read_functions_and_their_names():
    """A list of authenticators; one function for a tenant or for models."""
    given: dict[str, Any] = {"tenant_from": HERE, "model_from": HERE}
    settings = Settings(**given | {"authenticators": [answer, HERE]})
    found: list[Any] = [authenticate(FakeHead()) for authenticate in settings.authenticators]
    assert found == ["acme"] * 2
    assert isinstance(settings.tenant_from, FunctionTenant)
    assert settings.tenant_from.of(FakeHead(), lambda _peer: False) == "acme"
    assert settings.model_from is not None
    assert [names(FakeHead()) for names in settings.model_from.calls] == ["acme"]
    assert settings.reader().always


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authenticators", answer),
        ("authenticators", HERE),
        ("authenticators", [7]),
        ("authenticators", ["nonsense"]),
        ("tenant_from", "nonsense"),
        ("model_from", "{model}"),
        ("model_from", 7),
        ("body_max", 0),
        ("body_max", "many"),
        ("client_ip", "nobody"),
        ("trusted_proxies", ["*"]),
        ("trusted_proxies", 0),
        ("trusted_proxies", []),
        ("hide_credentials", "perhaps"),
        ("exempt_preflight", 2),
        ("close_on_revoke", None),
        ("credentials", ["query(a b)"]),
        ("credentials", []),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_value_that_cannot_work_is_refused_at_start(name: str, value: Any):
    """The error begins with the setting."""
    with pytest.raises(SettingsError) as caught:
        Settings(
            **{"client_ip": "x-forwarded-for" if name == "trusted_proxies" else None}
            | {name: value}
        )
    assert str(caught.value).startswith(name)


def test_new_settings_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As text, like all others."""
    monkeypatch.chdir(tmp_path)
    values = {
        "AUTHENTICATORS": HERE,
        "BODY_MAX": "2048",
        "CLIENT_IP": "x-forwarded-for",
        "CLOSE_ON_REVOKE": "true",
        "EXEMPT_PREFLIGHT": "1",
        "HIDE_CREDENTIALS": "false",
        "MODEL_FROM": "body(model, fallbacks[*])",
        "TENANT_FROM": "host({tenant}.api.example), host(acme.example)=acme",
        "TRUSTED_PROXIES": "10.0.0.0/8, unix:",
        "ROUTES": json.dumps([{"path": "/x", "model": ["body(a)", "body(b)"]}]),
    }
    for name, value in values.items():
        monkeypatch.setenv(f"KEYBOUND_{name}", value)
    settings = Settings.load()
    assert len(settings.authenticators) == 1
    assert (settings.body_max, settings.client_ip) == (2048, "x-forwarded-for")
    assert (settings.close_on_revoke, settings.exempt_preflight) == (True, True)
    assert settings.hide_credentials is False
    assert settings.model_from is not None
    assert settings.model_from.body == BodyFields(("model", "fallbacks[*]"))
    assert settings.tenant_from is not None
    host = FakeHead((("host", b"ACME.example"),))
    assert settings.tenant_from.of(host, lambda _peer: False) == "acme"
    assert settings.trusted_proxies == ("10.0.0.0/8", "unix:")
    assert settings.routes[0].body == BodyFields(("a", "b"))
    monkeypatch.setenv("KEYBOUND_TRUSTED_PROXIES", "2")
    assert Settings.load().trusted_proxies == 2
