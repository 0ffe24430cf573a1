"""Path patterns: what they match, whole, and which ones are none."""

from __future__ import annotations

import pytest

from keybound.core.errors import InputError
from keybound.core.patterns import (
    check_protected,
    compile_path,
    fill,
    may_meet,
    path_fields,
    sample_path,
    template_fields,
)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("/", ["/"], ["", "/x", "//"]),
        ("/v1", ["/v1"], ["/v1/", "/v1x", "/V1", "/x/v1"]),
        ("/v1/*", ["/v1/", "/v1/a", "/v1/a/b", "/v1/a\nb"], ["/v1", "/v10/a"]),
        ("/*", ["/", "/a/b"], [""]),
        ("/{a}", ["/x", "/x y"], ["/", "/x/y"]),
        ("/{a:path}", ["/", "/x/y"], ["x"]),
        ("/{a}/f-{b}", ["/x/f-1"], ["/x/f-", "/x/g-1"]),
        ("/a.b(c)+", ["/a.b(c)+"], ["/aXb(c)+", "/a.bc"]),
    ],
)
def test_a_pattern_matches_whole_paths(pattern, inside, outside):
    """Text is text, a field is one segment, and only the end may span more."""
    compiled = compile_path(pattern)
    assert [path for path in inside if not compiled.fullmatch(path)] == []
    assert [path for path in outside if compiled.fullmatch(path)] == []


def test_a_guarded_branch_includes_its_root():
    """``protect="/v1/*"`` leaves no door at ``/v1``, and takes no neighbour with it."""
    compiled = compile_path("/v1/*", whole_branch=True)
    assert all(compiled.fullmatch(path) for path in ("/v1", "/v1/", "/v1/a"))
    assert not compiled.fullmatch("/v10")


def test_a_template_is_filled_from_what_was_matched():
    """Fields come from the path, the rest stays, and none is no template at all."""
    found = compile_path("/{domain}/{user}").fullmatch("/R1/acme")
    assert found is not None
    assert fill("{domain}/{user}", found.groupdict()) == "R1/acme"
    assert fill("fixed", {}) == "fixed"
    assert fill(None, {}) is None
    assert template_fields("{a}/x/{b:path}") == ["a", "b"]
    assert template_fields(None) == []


def test_what_a_path_says_is_never_a_template_itself():
    """A client that writes braces into a path gets them back as text."""
    found = compile_path("/{domain}/{user}").fullmatch("/{user}/acme")
    assert found is not None
    assert fill("{domain}", found.groupdict()) == "{user}"


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "v1", "*", "/v1*", "/*/x", "/v*/x", "/{a", "/a}", "/{}", "/{1a}", "/{a}/{a}"),
        *("/{a:int}", "/{a:path}/{b:path}", "/{a:path}/*", "/{a:path}/{a}", "/v1/**", None, 7),
    ],
)
def test_what_is_no_pattern_is_refused(pattern):
    """One way to read each pattern, and at most one part that spans segments."""
    with pytest.raises(InputError) as caught:
        path_fields(pattern, field="protect")
    assert caught.value.field == "protect"
    assert caught.value.fix


def test_the_fields_of_a_pattern_are_known():
    """Names of both kinds of fields, each once."""
    assert path_fields("/{tenant}/x/{rest:path}") == {"tenant", "rest"}
    assert path_fields("/v1/*") == frozenset()


def test_a_pattern_that_guards_one_odd_path_alone_is_refused():
    """``/v1/`` looks like a branch and is none, so it is an error with the spelling meant."""
    with pytest.raises(InputError, match="guards that very path alone") as caught:
        check_protected("protect", "/v1/")
    assert caught.value.fix == "write '/v1/*'"
    for pattern in ("/", "/*", "/v1", "/v1/*"):
        assert check_protected("protect", pattern) == pattern


def test_matching_takes_time_in_proportion_to_the_path():
    """The longest path that is matched at all is refused at once, whatever the fields are."""
    compiled = compile_path("/{a}/{b}/{rest:path}/end")
    assert compiled.fullmatch("/a" * 4_096) is None


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("/v1/a", "/v1/a", True),
        ("/v1/a", "/v1/b", False),
        ("/v1/a", "/v1/a/b", False),
        ("/v1/{x}", "/v1/a", True),
        ("/v1/{x}", "/v1/{y}.json", True),
        ("/v1/{x}/b", "/v1/a/c", False),
        ("/v1/*", "/v1/a/b", True),
        ("/v1/*", "/v1", True),
        ("/v1/*", "/v2", False),
        ("/{rest:path}", "/v1/a", True),
        ("/v1/{rest:path}/x", "/v1", True),
    ],
)
def test_whether_two_patterns_may_meet(one, other, meet):
    """In doubt they do; the order does not count."""
    assert may_meet(one, other) is meet
    assert may_meet(other, one) is meet


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/{x}/b", "/v1/*", "/{x:path}/a", "/{a}.{b}"])
def test_a_sample_matches_its_pattern(path):
    """So that what is said of it holds for some request."""
    assert compile_path(path).fullmatch(sample_path(path))
