"""``keybound demo``: real keys against a real server, on the embedded default."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keybound.cli import demo_commands as commands
from keybound.cli.bundles import NO_TYPE
from keybound.cli.demo_cases import ABOUT, CASES, NO_KEY, ROUTES, issue_keys
from keybound.cli.demo_client import Client
from keybound.cli.exits import Ended, Exit
from keybound.cli.render import Whole, card, table
from keybound.cli.session import Session
from keybound.clocks import SystemClock, read_entropy
from keybound.core.errors import InputError
from keybound.core.secret import Secret
from keybound.engine import Engine
from keybound.guard import AsyncGuard, Guard
from keybound.settings import Settings
from keybound.sources import SETTINGS_FILE
from keybound.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import FrameType

    from rich.console import RenderableType

    from keybound.cli.demo_cases import Case
    from keybound.cli.demo_client import Answer, Story

_COLUMNS = ("request", "key", "answer", "reason")
_REVOKED = (
    "The key full was revoked as another process would do it. The server refused it, and the"
    " child below it, {seconds:.3f} s later; the bound is {bound:g} s."
)
_FORMS = (
    "Each key was sent as Bearer and as rest_api_key=, and answered alike. No client is told why"
    " it got a 401; the id in the answer tells the operator."
)
_OFFERED = (
    "It shows keys that work, curl lines with them, and the command that opens the id of a refusal."
    " Then, in another terminal, what needs no key:"
)
_EXPLAINED = (
    "Each refusal carries an id in the header keybound-denial. This opens the id of {}; any other"
    " can stand in its place:"
)


def demo(
    session: Session,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", metavar=NO_TYPE, help="Keep the server up, and show keys to try it with."
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65_535, help="Port of the server; 0 is any."),
    ] = 0,
) -> None:
    """Show limited keys at work: issue some, send real requests with them, revoke one.

    Needs no service and leaves nothing behind. Exit status 1 if any answer is not the right one.
    """
    demonstrate(session, serve=serve, port=port)


def demonstrate(
    session: Session, *, serve: bool = False, port: int = 0, cases: Sequence[Case] = CASES
) -> None:
    """Send the requests of ``cases`` to a real server and print the answers.

    Ends the command with status 1 if one of them is not the right one.
    """
    from keybound.cli.demo_app import served  # brings the server, which no other command needs

    if session.chosen.app or session.chosen.settings:
        fix = "leave --app and --settings out"
        raise InputError("demo", "has an application of its own", fix=fix)
    with _guards(session) as (operator, guard, folder), served(guard, port) as url:
        keys = issue_keys(operator)
        story = Client(url, operator, keys).tell(cases)
        lasting = serve and not story.problems
        if lasting:
            _print(session, story, *_lasting(operator, story, url, folder))
            _wait()
        else:
            _print(session, story, *_over(story, port))
    if story.problems:
        raise Ended(Exit.NO)


@contextmanager
def _guards(session: Session) -> Generator[tuple[Guard, AsyncGuard, Path]]:
    """Lend the operator's guard and the server's, with one store and nothing else in common.

    Besides, a folder that only this user can look into, and that is gone afterwards.
    """
    clock = SystemClock()
    with TemporaryDirectory(prefix="keybound-demo-") as folder:
        settings = Settings(
            database=session.chosen.database or str(Path(folder, "keybound.db")),
            secret=Secret(read_entropy(32).hex()),
            environment="demo",
            routes=ROUTES,
        )
        store = open_store(settings.database, connections=settings.store_connections)
        session.out.note(f"keys are in {store.location}")
        operator = Guard(Engine(settings, store, clock, background=False))
        guard = AsyncGuard(Engine(settings, store, clock))
        try:
            operator.open()
            yield operator, guard, Path(folder)
        finally:
            guard.engine.close()
            operator.close()


def _print(
    session: Session, story: Story, told: dict[str, Any], shown: Sequence[RenderableType]
) -> None:
    data = {
        "ok": not story.problems,
        "requests": [_data(each) for each in story.answers],
        "child_refused": story.exceeding,
        "revocation": {
            "seconds": round(story.seconds, 3),
            "bound": story.bound,
            "requests": [_data(each) for each in story.afterwards],
        },
        "problems": story.problems,
        **told,
    }
    session.out.result(data, *_seen(story), *shown)


def _seen(story: Story) -> list[RenderableType]:
    return [
        card(ABOUT.items()),
        "",
        table(_COLUMNS, [_row(each) for each in story.answers], whole=("key", "reason"), gap=1),
        "",
        _FORMS,
        "",
        f"A child of the key messages asked for more: {story.exceeding or 'and got it'}",
        "",
        _REVOKED.format(seconds=story.seconds, bound=story.bound),
        "",
        table(_COLUMNS, [_row(each) for each in story.afterwards], whole=("key", "reason"), gap=1),
        "",
    ]


def _over(story: Story, port: int) -> tuple[dict[str, Any], list[RenderableType]]:
    """Return what to try after this demo, whose keys are gone: nothing that needs one of them."""
    if story.problems:
        wrong = [Whole(f"  {each}") for each in story.problems]
        return {"try": []}, ["Not as expected:", *wrong]
    serve, lines = commands.serve_line(port), commands.keyless_curls(port)
    shown: list[RenderableType] = [
        "All as expected. To try it yourself:",
        Whole(f"  {serve}"),
        _OFFERED,
        *(Whole(f"  {line}") for line in lines),
    ]
    return {"serve": serve, "try": lines}, shown


def _lasting(
    operator: Guard, story: Story, url: str, folder: Path
) -> tuple[dict[str, Any], list[RenderableType]]:
    """Issue keys that last as long as the server, and return what to try with them."""
    keys = issue_keys(operator).revealed()
    lines = commands.curls(url, keys)
    told: dict[str, Any] = {"url": url, "keys": keys, "try": lines}
    shown: list[RenderableType] = [
        f"All as expected. Serving until Ctrl-C: {url}",
        *(Whole(f"  {name:9} {key}") for name, key in keys.items()),
        "Try in another terminal:",
        *(Whole(f"  {line}") for line in lines),
    ]
    denials = [each.denial for each in story.answers if each.denial is not None]
    if denials and "://" not in operator.engine.store.location:  # another process can look into it
        file = folder / SETTINGS_FILE
        commands.write_settings(file, operator)
        told["explain"] = line = commands.explain_line(file, denials[0])
        shown += [_EXPLAINED.format(_denied(story)), Whole(f"  {line}")]
    return told, shown


def _denied(story: Story) -> str:
    first = next(each.case for each in story.answers if each.denial is not None)
    return f"{first.method} {first.path} with the key {first.key}"


def _data(answer: Answer) -> dict[str, object]:
    case = answer.case
    return {
        "method": case.method,
        "path": case.path,
        "key": None if case.key == NO_KEY else case.key,
        "status": answer.status,
        "reason": answer.reason,
        "expected": answer.problem is None,
    }


def _row(answer: Answer) -> tuple[str, ...]:
    case = answer.case
    mark = "" if answer.problem is None else " (wrong)"
    reason = answer.reason.value if answer.reason is not None else ""
    return (f"{case.method} {case.path}", case.key, f"{answer.status}{mark}", reason)


def _wait() -> None:
    """Return at SIGINT (Ctrl-C) or SIGTERM, and handle both again as before."""
    enough = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        enough.set()

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        enough.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
