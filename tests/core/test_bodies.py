"""The models of a JSON body: read exactly, or not at all."""

from __future__ import annotations

import json
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keybound.core.bodies import BODY_MAX, MODELS_MAX, BodyFields, head_allows
from keybound.core.errors import InputError
from tests.core.speed import SLOW

JSON = b"application/json"
ALL = "body(model, fallbacks[*], messages[*].model)"


NO_NAMES: list[object] = ["", None, 7, True, ["a"], {}, "a" * 257]


def models(body, fields="body(model)", content_type=JSON, content_encoding=None):
    """Return the models of a body, written as text or as what JSON is made of."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    parsed = BodyFields.parse(fields, field="model_from")
    return parsed.models(raw, content_type, content_encoding)


# -------------------------------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    "text",
    [
        *("", "body", "body()", "bodys(model)", "model", "body(model", "body(model,)", "body(a b)"),
        *("body(.a)", "body(a.)", "body(a..b)", "body([*])", "body(a[*)", "body(a[0])"),
        *("body(a[*][*])", "body(a[*]b)", "body(*)", "body($.a[])"),
    ],
)
def test_a_field_that_is_none_is_refused_at_start(text):
    """The setting is named, with how to write it."""
    with pytest.raises(InputError) as caught:
        BodyFields.parse(text, field="model_from")
    assert caught.value.field == "model_from"
    assert caught.value.fix


def test_fields_are_shown_as_they_are_written():
    """Each once, and read back as the same."""
    fields = BodyFields.parse("body( model,fallbacks[*],model )", field="x")
    assert str(fields) == "body(model, fallbacks[*])"
    assert BodyFields.parse(str(fields), field="x") == fields


# --------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("fields", "body", "named"),
    [
        ("body(model)", {"model": "a"}, ("a",)),
        ("body(model)", b' \r\n\t{"model" : "a" } ', ("a",)),
        ("body(model)", b'{"mod\\u0065l":"\\u0061"}', ("a",)),
        ("body(model)", {"model": "*"}, ("*",)),
        ("body(model)", {"model": "é 😀"}, ("é 😀",)),
        ("body(model)", {"model": "a" * 256}, ("a" * 256,)),
        ("body(model)", {"model": "a", "n": [-1, 10**4299, 1.5e300, None, True]}, ("a",)),
        ("body(a.b.c)", {"a": {"b": {"c": "x"}}}, ("x",)),
        (ALL, {"model": "b", "fallbacks": ["a", "b"], "messages": []}, ("b", "a")),
        (ALL, {"model": "b"}, ("b",)),
        (ALL, {"model": "b", "messages": [{"model": "c"}, {"model": "d"}]}, ("b", "c", "d")),
        ("body(a[*].b[*].c)", {"a": [{"b": [{"c": "x"}]}, {}, {"b": []}]}, ("x",)),
        ("body(model, o.list[*])", {"model": "a"}, ("a",)),
        ("body(model, o.list[*])", {"model": "a", "o": {}}, ("a",)),
        (
            "body(f[*])",
            {"f": [f"m{n}" for n in range(MODELS_MAX)] * 3},
            tuple(f"m{n}" for n in range(MODELS_MAX)),
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_every_model_is_named_once_in_order(fields, body, named):
    """Of all fields, also in lists; a list that is not there names none."""
    assert models(body, fields) == named


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("body(model)", {}),
        ("body(model)", {"Model": "a"}),
        *(("body(model)", {"model": value}) for value in NO_NAMES),
        ("body(model)", b'{"model":"\\ud800"}'),
        ("body(a.b)", {"a": "x"}),
        ("body(a.b)", {"a": [{"b": "x"}]}),
        ("body(a.b)", {"a.b": "x"}),
        ("body(f[*])", {}),
        ("body(f[*])", {"f": []}),
        ("body(f[*])", {"f": None}),
        ("body(f[*])", {"f": "a"}),
        ("body(f[*])", {"f": {"0": "a"}}),
        ("body(f[*])", {"f": ["a", 7]}),
        ("body(f[*])", {"f": ["a", ["b"]]}),
        ("body(f[*])", {"f": [f"m{n}" for n in range(MODELS_MAX + 1)]}),
        ("body(f[*].m)", {"f": [{"m": "a"}, {}]}),
        ("body(f[*].m)", {"f": ["a"]}),
        ("body(model, o.list[*])", {"model": "a", "o": None}),
        (ALL, {"model": "a", "fallbacks": None}),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_body_that_does_not_say_which_models_tells_nothing(fields, body):
    """A field that is not there leaves the choice to the application, so nobody knows it."""
    assert models(body, fields) is None


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"null", b'"a"', b'["model"]', b"model=a", b"\x1f\x8b"),
        *(
            b'{"model":"a"',
            b'{"model":"a"}x',
            b'{"model":"a"}{}',
            b"{'model':'a'}",
            b'{"model":"a",}',
        ),
        *(b'{"model":"a"}\x00', b'\xef\xbb\xbf{"model":"a"}', b'{"model":"a\n"}'),
        *(b'{"model":"\xe9"}', '{"model":"a"}'.encode("utf-16"), b'{"model":"\xed\xa0\x80"}'),
        *(b'{"model":"a","model":"a"}', b'{"model":"a","mod\\u0065l":"b"}'),
        *(b'{"model":"a","x":[{"y":1,"y":1}]}', b'{"model":"a","":1,"":2}'),
        *(b'{"model":"a","x":NaN}', b'{"model":"a","x":-Infinity}', b'{"model":"a","x":01}'),
        b'{"model":"a","x":' + b"1" * 4_301 + b"}",
        b'{"model":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"a","x":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_parsers_may_read_in_two_ways_tells_nothing(body):
    """Broken, doubled, too deep, in another encoding, or with what is no JSON."""
    assert models(body) is None


def test_a_limit_of_the_interpreter_does_not_decide():
    """An application that lets Python read longer numbers does not make reading a body slow."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert models(b'{"model":"a","x":-' + b"1" * 4_300 + b"}") == ("a",)
        assert models(b'{"model":"a","x":-' + b"1" * 4_301 + b"}") is None
    finally:
        sys.set_int_max_str_digits(limit)


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "Application/JSON", " application/json\t", "application/json;"),
        *("application/vnd.acme.v1+json", "application/json; charset=utf-8"),
        *('application/json;charset="UTF-8"', "application/json ; Charset=Utf-8 ; q=1"),
        *('application/json; a="b; charset=utf-16\\""', "application/json;;; charset=utf-8"),
    ],
)
def test_a_body_is_json_where_its_type_says_so(content_type):
    """As RFC 9110 writes media types and their parameters."""
    assert models({"model": "a"}, content_type=content_type.encode()) == ("a",)


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/json", "text/plain", "json", "application/jsonx", "application/+json"),
        *("application/json, text/plain", "application/json,application/json"),
        *("application/json; charset=utf-16", "application/json; charset=latin-1"),
        *("application/json; charset=utf8", "application/json; charset=utf-8; charset=utf-8"),
        *("application/json; charset", "application/json; charset=", "application/json; =utf-8"),
        *("application/json; charset = utf-8", "application/json charset=utf-8"),
        *('application/json; a="b', 'application/json; charset="utf\\-8"', "application/jsoné"),
        *("multipart/form-data; boundary=json", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_of_another_type_tells_nothing(content_type):
    """An application may read it otherwise, or as something else."""
    raw = None if content_type is None else content_type.encode("latin-1")
    assert models({"model": "a"}, content_type=raw) is None


def test_the_longest_type_is_read():
    """It has 256 characters, and one more is nobody's."""
    longest = b"application/json".ljust(256, b";")
    assert head_allows(longest, None, None, 1)
    assert not head_allows(longest + b";", None, None, 1)


@pytest.mark.parametrize(
    ("encoding", "read"),
    [
        *((None, True), (b"identity", True), (b" IDENTITY ", True)),
        *(
            (b"gzip", False),
            (b"", False),
            (b"identity, gzip", False),
            (b"identity,identity", False),
        ),
    ],
)
def test_a_body_is_read_as_it_came(encoding, read):
    """What would have to be unpacked first tells nothing."""
    assert (models({"model": "a"}, content_encoding=encoding) is not None) is read


@pytest.mark.parametrize(
    ("length", "allowed"),
    [
        *((None, True), (b"0", True), (b"1024", True), (b" 1024\t", True), (b"0001024", True)),
        *((b"1025", False), (b"", False), (b"-1", False), (b"+1", False), (b"1_0", False)),
        *((b"1024, 1024", False), (b"1" * 19, False), (b"\xd9\xa1", False), (b"9" * 9_000, False)),
    ],
)
def test_a_body_that_is_too_long_is_not_read_at_all(length, allowed):
    """What its head says is enough to tell; without a length somebody has to count."""
    assert head_allows(JSON, None, length, 1_024) is allowed


def test_a_head_tells_that_a_body_is_not_worth_reading():
    """By its type and encoding, before a byte of it is kept."""
    assert not head_allows(b"text/plain", None, b"2", BODY_MAX)
    assert not head_allows(JSON, b"br", b"2", BODY_MAX)
    assert not head_allows(None, None, b"2", BODY_MAX)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":' + b"[" * BODY_MAX,
        b'{"model":"' + b"\\u0041" * (BODY_MAX // 6) + b'"}',
        b'{"model":"a","x":1.' + b"1" * BODY_MAX + b"e-999999}",
        b'{"model":"a","x":' + b"9" * BODY_MAX + b"}",
        b'{"model":"a"' + b" " * BODY_MAX + b"}",
    ],
    ids=["deep", "escaped", "exact", "whole", "blank"],
)
def test_reading_takes_time_in_proportion_to_the_body(body):
    """The longest bodies, made to be slow."""
    began = time.process_time()
    models(body)
    assert time.process_time() - began < 0.25 * SLOW


def test_reading_a_type_takes_time_in_proportion_to_it():
    """A header made to be slow to match."""
    began = time.process_time()
    for part in (b"; ", b";a=b", b';a="\\"', b'; a="b" ', b"\t\t;"):
        assert not head_allows(JSON + part * 4_000 + b"?", None, None, 1)
    assert time.process_time() - began < 0.25 * SLOW


# -------------------------------------------------------------------------------------- property

_NAMES = st.sampled_from(["model", "fallbacks", "messages", "x"])
_TEXTS = st.sampled_from(["a", "b", "*", "", "é"])
_VALUES = st.recursive(
    _TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.tuples(_NAMES, inner), max_size=4).map(lambda pairs: ("object", pairs))
    ),
    max_leaves=12,
)


def written(value):
    """Return JSON in which members may be there twice."""
    if isinstance(value, tuple):
        members = (f"{json.dumps(name)}: {written(inner)}" for name, inner in value[1])
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def doubled(value):
    """Return whether a member is there twice, anywhere."""
    if isinstance(value, tuple):
        names = [name for name, _ in value[1]]
        return len(set(names)) < len(names) or any(doubled(inner) for _, inner in value[1])
    return isinstance(value, list) and any(map(doubled, value))


def expected(value):
    """Return the models of ``ALL``, read slowly and one field after another."""
    if not isinstance(value, tuple) or doubled(value):
        return None
    found = dict(value[1])
    if "model" not in found:
        return None
    texts = [found["model"]]
    for name in ("fallbacks", "messages"):
        if name in found:
            if type(found[name]) is not list:
                return None
            for each in found[name]:
                if name == "fallbacks":
                    texts.append(each)
                elif not isinstance(each, tuple) or "model" not in dict(each[1]):
                    return None
                else:
                    texts.append(dict(each[1])["model"])
    if not all(isinstance(text, str) and text for text in texts):
        return None
    return tuple(sorted(set(texts), key=texts.index))


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=4).map(lambda pairs: ("object", pairs)))
@example(
    ("object", [("model", "a"), ("fallbacks", ["b"]), ("messages", [("object", [("model", "c")])])])
)
@example(("object", [("model", "a"), ("x", [("object", [("y", 1), ("y", 1)])])]))
def test_models_are_those_of_a_slow_reader(value):
    """Whatever a document is made of, two ways to read it agree."""
    assert models(written(value).encode(), ALL) == expected(value)


@given(
    st.binary(max_size=60),
    st.binary(max_size=30) | st.just(JSON),
    st.none() | st.binary(max_size=9),
)
def test_nothing_that_is_sent_raises(body, content_type, encoding):
    """Bytes of any kind tell models, or nothing."""
    found = models(body, ALL, content_type, encoding)
    assert found is None or all(found)
