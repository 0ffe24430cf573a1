"""A request is one use, also where Django chooses another view than was decided on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.urls import path

from keybound.django import guard

if TYPE_CHECKING:
    from django.http import HttpRequest

    from tests.django.conftest import Project


def show(_request: HttpRequest, **_values: object) -> HttpResponse:
    """Answer."""
    return HttpResponse("shown")


def test_request_that_is_decided_twice_is_one_use(project: Project):
    """Whether a middleware behind ours changed it, or nothing did."""
    project.use(path("a", show), path("b", show), after=("tests.django.parts.Rewriting",))
    header = project.key()
    (key,) = guard().list()
    for number in range(1, 4):
        for where in ("/a", "/b"):
            headers = {"X-Path": "/b"}
            assert project.send(where, header, headers=headers).status_code == 200
        guard().engine.recorder.record()
        usage = guard().usage([key.id])[key.id]
        assert (usage.uses, usage.refusals) == (2 * number, 0)


def test_request_whose_key_is_not_needed_by_now_is_one_use(project: Project):
    """It was let in by that key."""
    project.use(
        path("v1/x", show),
        path("x", show),
        after=("tests.django.parts.Rewriting",),
        keybound={"PROTECT": ["/v1/*"]},
    )
    header = project.key()
    (key,) = guard().list()
    assert project.send("/v1/x", header, headers={"X-Path": "/x"}).status_code == 200
    guard().engine.recorder.record()
    assert guard().usage([key.id])[key.id].uses == 1
