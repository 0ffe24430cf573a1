"""How a function becomes a command: bundles are spread out, and the session is given to it."""

from __future__ import annotations

from functools import partial
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from keybound.cli.bundles import Bundle, collect, parameters_of
from keybound.cli.session import Globals, Session

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., None]")

_CONTEXT = "context"


def command(
    app: typer.Typer, *, name: str | None = None, takes_unknown: bool = False
) -> Callable[[Function], Function]:
    """Add a function to ``app``.

    A parameter that is a ``Session`` is given, one that is a ``Bundle`` becomes its options, and
    every other one is as Typer reads it. ``takes_unknown`` lets arguments start with a dash.
    """

    def add(function: Function) -> Function:
        settings = {"ignore_unknown_options": takes_unknown}
        app.command(name=name, help=function.__doc__, context_settings=settings)(spread(function))
        return function

    return add


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function that Typer can read: one option for each member of a bundle."""
    bundles: dict[str, type[Bundle]] = {}
    session = ""
    wanted = [Parameter(_CONTEXT, Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in signature(function, eval_str=True).parameters.values():
        kind: Any = parameter.annotation
        if kind is Session:
            session = parameter.name
        elif isinstance(kind, type) and issubclass(kind, Bundle):
            bundles[parameter.name] = kind
            wanted += parameters_of(kind)
        else:
            wanted.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
    wanted += parameters_of(Globals)

    def run(**given: Any) -> None:  # noqa: ANN401 - each option has a type of its own
        context: typer.Context = given.pop(_CONTEXT)
        context.obj = chosen = collect(Globals, given).over(context.obj)
        ready = partial(function, **{name: collect(kind, given) for name, kind in bundles.items()})
        ready(**{session: Session(chosen)}, **given)

    run.__signature__ = Signature(wanted)  # type: ignore[attr-defined]
    run.__annotations__ = {}
    run.__name__ = function.__name__
    return run
