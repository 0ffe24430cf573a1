"""Choices in settings and routes: one spelling, read exactly."""

from __future__ import annotations

import pytest

from keybound.core.errors import InputError
from keybound.core.spelled import read_call


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("bearer", ("bearer", ())),
        ("aws-alb", ("aws-alb", ())),
        ("header(X-API-Key)", ("header", ("X-API-Key",))),
        (" scheme_param ( Token ,\ttoken ) ", ("scheme_param", ("Token", "token"))),
        ("host({tenant}.api.example)", ("host", ("{tenant}.api.example",))),
        ("body(model, fallbacks[*])", ("body", ("model", "fallbacks[*]"))),
        ("header(a b)", ("header", ("a b",))),
    ],
    ids=repr,
)
def test_a_call_is_a_name_and_its_arguments(text, read):
    """Blanks around the parts are no part of them."""
    assert read_call("field", text) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, "cannot read") for text in ("", " ", "1st", "a b", "(x)", "a(b", "a b)", "a(b)c")),
        *((text, "cannot read") for text in ("a(b(c))", "a(b)(c)", "a\n", "\u00e4", "_a")),
        *(
            (text, "empty or no plain ASCII")
            for text in ("a()", "a( )", "a(b,)", "a(,b)", "a(b,,c)")
        ),
        *(
            (text, "empty or no plain ASCII")
            for text in ("a(\u00e4)", "a(b\n)", "a(b\tc)", "a(\0)")
        ),
    ],
    ids=repr,
)
def test_what_is_no_call_is_an_error_of_its_field(text, said):
    """The error names the field, and how it is written."""
    with pytest.raises(InputError, match=said) as caught:
        read_call("tenant_from", text)
    assert caught.value.field == "tenant_from"
    assert "write" in caught.value.fix
