"""Path patterns: what they match, whole, and which ones are none."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybound.core.errors import InputError
from keybound.core.patterns import (
    check_protected,
    compile_path,
    fill,
    fixed_start,
    may_meet,
    path_fields,
    sample_path,
    template_fields,
)
from keybound.core.table import PATH_MAX
from tests.core.speed import SLOW


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
        ("/v1/{id}:cancel", ["/v1/7:cancel", "/v1/7:x:cancel"], ["/v1/:cancel", "/v1/7:cancelled"]),
        ("/v1/{id}:cancel", [], ["/v1/7/x:cancel", "/v1/7:cancel/", "/v1/7:Cancel", "/v1/7"]),
        ("*/search", ["/search", "/a/search", "/a/b/search"], ["/search/", "/a/research"]),
        ("*/search", [], ["/search/reindex", "/a/search:x", "/a/Search", "/a/search\n"]),
        ("*:search", ["/a:search", "/v1/a:search", "/:search"], ["/a/search", "/a:search/b"]),
        ("*.json", ["/a.json", "/v1/a.b.json"], ["/json", "/a.json/b", "/ajson", "/a.jsonx"]),
        ("*/{x}/search", ["/a/search", "/a/b/search"], ["/search", "/a/search/b"]),
        ("*/{x}.{y}", ["/a.b", "/v1/a.b.c"], ["/a", "/a.", "/.b", "/a.b/c"]),
        ("/{x}.{y}/z", ["/a.b/z", "/a.b.c/z"], ["/a.b", "/a/z", "/a/b.c/z"]),
        ("/{x}-{y}.json", ["/a-b.json", "/a-.json.json"], ["/a-.json", "/a.json", "/a-b.jso"]),
    ],
)
def test_a_pattern_matches_whole_paths(pattern, inside, outside):
    """Text is text, a field is one segment, and only the end may span more."""
    compiled = compile_path(pattern)
    assert [path for path in inside if not compiled.fullmatch(path)] == []
    assert [path for path in outside if compiled.fullmatch(path)] == []


@given(
    st.sampled_from(["/search", ":search", ".json", "/a/b", "/a.b:c", "/search/"]),
    st.lists(st.sampled_from(["a", "search", "json", "/", ":", ".", "b", "S", "\n"]), max_size=8),
)
def test_a_pattern_of_an_ending_is_how_paths_end(ending, parts):
    """Nothing more, and nothing less."""
    path = "/" + "".join(parts)
    assert bool(compile_path(f"*{ending}").fullmatch(path)) is path.endswith(ending)


@given(st.text("a.-/", max_size=12))
def test_two_fields_of_a_segment_are_split_where_routers_split_them(text):
    """As expressions do that take as much as they can: an application sees the same fields."""
    for pattern, plain in (
        ("/{a}.{b}", r"/(?P<a>[^/]+)\.(?P<b>[^/]+)"),
        ("/{a}-{b}.a/{c}", r"/(?P<a>[^/]+)-(?P<b>[^/]+)\.a/(?P<c>[^/]+)"),
        ("*/{a}.{b}-", r".*/(?P<a>[^/]+)\.(?P<b>[^/]+)-"),
    ):
        ours, theirs = compile_path(pattern).fullmatch(f"/{text}"), re.fullmatch(plain, f"/{text}")
        assert (ours and ours.groupdict()) == (theirs and theirs.groupdict())


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
        *(
            "*search",
            "*{a}",
            "*/",
            "*:",
            "*.",
            "**/x",
            "*/*",
            "*/x/*",
            "*/{a:path}",
            "*:{a}",
            "*-x",
        ),
        *("/{a}x{b:path}", "/{a:path}x{b}", "/{a}.{b}.{c}", "*/{a}.{b}.{c}", "*/{a}/{a}", "*//*"),
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
    assert path_fields("*/{tenant}/search") == {"tenant"}


def test_a_pattern_that_guards_one_odd_path_alone_is_refused():
    """``/v1/`` looks like a branch and is none, so it is an error with the spelling meant."""
    with pytest.raises(InputError, match="guards that very path alone") as caught:
        check_protected("protect", "/v1/")
    assert caught.value.fix == "write '/v1/*'"
    for pattern in ("/", "/*", "/v1", "/v1/*"):
        assert check_protected("protect", pattern) == pattern


@pytest.mark.parametrize("pattern", ["*/admin", "*:purge", "*.json"])
def test_what_is_guarded_is_not_told_by_how_paths_end(pattern):
    """What is beneath such a path would be open, so it is an error with the spelling meant."""
    with pytest.raises(InputError, match="leaves open what is beneath") as caught:
        check_protected("protect", pattern)
    assert "'/v1/*'" in caught.value.fix


@pytest.mark.parametrize(
    "pattern",
    [
        *("/{a}/{b}/{rest:path}/end", "*/search", "*:search", "*/{a}/search", "*/{a}.{b}"),
        *("*/{a}-{b}.json", "/{a}.{b}", "/{a}-{b}.json/{c}:{d}x/z", "/v1/{rest:path}/{b}/{c}.{d}x"),
        *("/x{rest:path}y/{z}x", "/{a}{b}", "*/{a}x/{b}x/c", "/{id}:cancel"),
    ],
)
def test_matching_takes_time_in_proportion_to_the_path(pattern):
    """The longest path that is matched at all is refused at once, whatever the fields are."""
    path_fields(pattern)
    compiled = compile_path(pattern)
    for part in ("-", ".", ":", "x", ":x", "/a", "x-", ".json", "/x:x", "-.", "y/", "/x.x-"):
        for end in ("", "/", "j", "/c"):
            path = "/" + (part * PATH_MAX)[: PATH_MAX - 1 - len(end)] + end
            taken = min(timed(compiled, path) for _ in range(3))
            assert taken < 0.005 * SLOW, path[:20]


@pytest.mark.parametrize(("path", "settled"), [("/{a}.{b}/{c}-{d}", 2), ("/{a}.x/{b}", 0)])
def test_where_the_first_of_two_fields_ends_is_settled_once(path, settled):
    """To try each place for each place again would take the square of the time."""
    assert compile_path(path).pattern.count("(?>") == settled


def timed(compiled, path):
    """Return the seconds that one match takes."""
    began = time.perf_counter()
    compiled.fullmatch(path)
    return time.perf_counter() - began


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
        ("*/search", "/v1/search", True),
        ("*/search", "/search", True),
        ("*/search", "/v1/{x}", True),
        ("*/search", "/v1/*", True),
        ("*/search", "/{rest:path}", True),
        ("*/search", "/v1/find", False),
        ("*/search", "/v1/{x}/find", False),
        ("*/search", "/search/x", False),
        ("*/v1/search", "/search", False),
        ("*/{x}/search", "/search", True),
        ("*:search", "/v1/{x}:search", True),
        ("*:search", "/v1/a:search", True),
        ("*:search", "/v1/{x}", True),
        ("*:search", "/v1/search", False),
        ("*:search", "/v1/{x}:find", False),
        ("*/search", "*:search", False),
        ("*/a:search", "*:search", True),
        ("*.json", "*/x.json", True),
    ],
)
def test_whether_two_patterns_may_meet(one, other, meet):
    """In doubt they do; the order does not count."""
    assert may_meet(one, other) is meet
    assert may_meet(other, one) is meet


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v1/{x}/b", "/v1/*", "/{x:path}/a", "/{a}.{b}"),
        *("*/search", "*:search", "*.json", "*/{x}/a"),
    ],
)
def test_a_sample_matches_its_pattern(path):
    """So that what is said of it holds for some request."""
    assert compile_path(path).fullmatch(sample_path(path))


def test_what_paths_begin_with_is_known():
    """Where a pattern tells only how they end, with a slash."""
    starts = {"/v1/*": "/v1", "/v1/{x}/y": "/v1/", "/v1/x": "/v1/x", "*/search": "/", "*:x": "/"}
    assert {pattern: fixed_start(pattern) for pattern in starts} == starts
