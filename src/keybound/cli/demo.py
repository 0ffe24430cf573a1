"""``keybound demo``: real keys against a real server, on the embedded default."""

from __future__ import annotations

import shlex
import signal
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from keybound.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
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
    " it got a 401: the operator opens the id in the answer with `keybound explain`."
)


def demo(
    session: Session,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the server up, and show keys to try it with.")
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
    """Run the demo with these cases and print what it saw."""
    from keybound.cli.demo_app import served  # brings the server, which no other command needs

    if session.chosen.app or session.chosen.settings:
        fix = "leave --app and --settings out"
        raise InputError("demo", "has an application of its own", fix=fix)
    with _guards(session) as (operator, guard), served(guard, port) as url:
        keys = issue_keys(operator)
        story = Client(url, operator, keys).tell(cases)
        lasting = serve and not story.problems
        if lasting:  # what was revoked is no use to whoever wants to try
            keys = issue_keys(operator)
        _print(session, story, url, keys.revealed() if lasting else {})
        if lasting:
            _wait()
    if story.problems:
        raise Ended(Exit.NO)


@contextmanager
def _guards(session: Session) -> Generator[tuple[Guard, AsyncGuard]]:
    """Lend the operator's guard and the server's: one store, and nothing else in common."""
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
            yield operator, guard
        finally:
            guard.engine.close()
            operator.close()


def _print(session: Session, story: Story, url: str, keys: Mapping[str, str]) -> None:
    curls = _curls(url, keys)
    data: dict[str, Any] = {
        "ok": not story.problems,
        "requests": [_data(each) for each in story.answers],
        "child_refused": story.exceeding,
        "revocation": {
            "seconds": round(story.seconds, 3),
            "bound": story.bound,
            "requests": [_data(each) for each in story.afterwards],
        },
        "problems": story.problems,
        "try": curls,
    }
    if keys:
        data |= {"url": url, "keys": dict(keys)}
    session.out.result(data, *_seen(story), *_next(story, url, keys, curls))


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


def _next(
    story: Story, url: str, keys: Mapping[str, str], curls: Sequence[str]
) -> list[RenderableType]:
    if story.problems:
        return ["Not as expected:", *(Whole(f"  {each}") for each in story.problems)]
    lines = [Whole(f"  {line}") for line in curls]
    if not keys:
        return [
            "All as expected. `keybound demo --serve` stays up for lines such as these:",
            *lines,
        ]
    named = [Whole(f"  {name:9} {key}") for name, key in keys.items()]
    return [f"All as expected. Serving until Ctrl-C: {url}", *named, "Try:", *lines]


def _curls(url: str, keys: Mapping[str, str]) -> list[str]:
    """Return lines to type; without keys that still work, with variables in their place."""
    requests = (
        ("full", "bearer", ""),
        ("reader", "param", "-X POST "),
        ("office", "bearer", ""),
    )
    base = url if keys else "$URL"
    lines: list[str] = []
    for name, form, options in requests:
        key = keys.get(name, f"${name.upper()}_KEY")
        header = f"Bearer {key}" if form == "bearer" else f"rest_api_key={key}"
        quote = shlex.quote if keys else '"{}"'.format
        line = f"curl -i {options}-H {quote(f'Authorization: {header}')} "
        lines.append(line + quote(f"{base}/domains/acme/messages"))
    return lines


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
    """Return when the person at the terminal, or whoever runs this process, has seen enough."""
    enough = Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        enough.set()

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        enough.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
