"""What a process tells OpenTelemetry, if that is installed: the instruments, and whom they ask.

Numbers are kept anyway, and read when a reader collects; until the application configures one,
nothing happens. No attribute holds anything of a request or a key.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from keybound.denial_log import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

    from keybound.core.effects import Effect
    from keybound.core.tally import Bringer
    from keybound.engine import Engine

    Numbers = Iterator[tuple[float, dict[str, str]]]
    Read = Callable[[Engine], Numbers]

_watched: WeakSet[Engine] = WeakSet()
_most: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
_making = Lock()
_told: Told | None = None


def watch(engine: Engine) -> None:
    """Let the instruments of this process tell of an engine as well, where OpenTelemetry is."""
    global _told  # noqa: PLW0603 - a process has one set of instruments
    try:
        from opentelemetry import metrics as otel
    except ModuleNotFoundError:
        return
    with _making:
        if _told is None:
            meter = otel.get_meter("keybound")
            _observe(meter, otel.Observation)
            _told = _histograms(meter)
        _watched.add(engine)
    engine.performer.timed = _told.timed
    engine.tally.fenced = _told.fenced


class Told(NamedTuple):
    """What records how long something took: an effect, and a change until it held here."""

    timed: Callable[[Effect[Any], float], None]
    fenced: Callable[[Bringer, float, int], None]


def _observe(meter: Meter, observation: type[Observation]) -> None:
    """Make the instruments that ask."""

    def asking(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def ask(_options: CallbackOptions) -> Iterable[Observation]:
            sums: dict[tuple[tuple[str, str], ...], float] = {}
            for engine in tuple(_watched):
                for number, attributes in read(engine):
                    at = tuple(attributes.items())
                    sums[at] = sums.get(at, 0) + number
            return [observation(number, dict(at)) for at, number in sums.items()]

        return ask

    def oldest(_options: CallbackOptions) -> Iterable[Observation]:
        ages = [age for engine in tuple(_watched) if (age := _sync_age(engine)) is not None]
        return [observation(max(ages))] if ages else []

    for name, read, unit, description in _COUNTERS:
        meter.create_observable_counter(name, [asking(read)], unit, description)
    for name, read, unit, description in _GAUGES:
        meter.create_observable_up_down_counter(name, [asking(read)], unit, description)
    meter.create_observable_gauge(
        "keybound.sync.age", [oldest], "s", "Time since the last sync with the store was sent."
    )


def _histograms(meter: Meter) -> Told:
    """Make the instruments that are told."""

    def histogram(name: str, description: str) -> Histogram:
        return meter.create_histogram(
            name, "s", description, explicit_bucket_boundaries_advisory=_SECONDS
        )

    store = histogram("keybound.store.duration", "Time that a question to the store took.")
    shared = histogram("keybound.redis.duration", "Time that a question to Redis took.")
    fence = histogram(
        "keybound.fence.delay", "Time from a change's commit elsewhere until it held here."
    )

    def timed(effect: Effect[Any], seconds: float) -> None:
        name = type(effect).__name__
        if name == "ReadShared":
            shared.record(seconds)
        else:
            store.record(seconds, {"keybound.operation": _OPERATIONS.get(name, "other")})

    def fenced(bringer: Bringer, seconds: float, changes: int) -> None:
        for _ in range(changes):
            fence.record(seconds, {"keybound.by": bringer})

    return Told(timed, fenced)


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of the histograms: those that are usual would put all of it into the first."""

_OPERATIONS = {
    "Commit": "change",
    "LoadByDigest": "load",
    "LoadNode": "load",
    "ListNodes": "list",
    "RecordUsage": "usage",
    "ReadUsage": "usage",
    "Stamp": "stamp",
    "Sync": "sync",
}


def _decisions(engine: Engine) -> Numbers:
    yield engine.counts.uses, {"keybound.outcome": "allowed"}
    for event in EVENTS:
        for reason, number in tuple(engine.refuser.by_reason(event).items()):
            yield number, {"keybound.outcome": event, "keybound.reason": reason.value}


def _loads(engine: Engine) -> Numbers:
    tally = engine.tally
    yield from _hits(engine)
    yield tally.from_shared, {"keybound.source": "redis"}
    yield tally.from_store, {"keybound.source": "store"}
    yield tally.joined, {"keybound.source": "joined"}


def _hits(engine: Engine) -> Numbers:
    if not engine.counts.counting:
        return
    # Not counted where it happens: that is the way of every request. Between two additions it may
    # seem to be less for an instant, which whoever reads would take for a process that began anew.
    hits = max(_most.get(engine, 0), engine.counts.uses - engine.tally.missed)
    _most[engine] = hits
    yield hits, {"keybound.source": "memory"}


def _lapses(engine: Engine) -> Numbers:
    yield engine.tally.lapsed, {}


def _refused_records(engine: Engine) -> Numbers:
    yield engine.tally.outdated, {"keybound.reason": "outdated"}
    yield engine.tally.forged, {"keybound.reason": "forged"}


def _messages(engine: Engine) -> Numbers:
    ear = engine.ear
    if ear is not None:
        yield ear.ahead, {"keybound.outcome": "ahead"}
        yield ear.behind, {"keybound.outcome": "behind"}
        yield ear.refused, {"keybound.outcome": "refused"}


def _rebuilds(engine: Engine) -> Numbers:
    if engine.listener is not None:
        yield engine.listener.rebuilds, {}


def _kept(engine: Engine) -> Numbers:
    cache = engine.rules.cache
    yield len(cache.entries), {"keybound.kind": "keys"}
    yield cache.packed, {"keybound.kind": "packed"}
    yield len(cache.absent), {"keybound.kind": "absences"}


def _sync_age(engine: Engine) -> float | None:
    synced_at = engine.rules.cache.fence.synced_at
    return None if synced_at is None else engine.clock.boot() - synced_at.boot


_COUNTERS: tuple[tuple[str, Read, str, str], ...] = (
    ("keybound.decisions", _decisions, "{request}", "Requests that were decided."),
    ("keybound.loads", _loads, "{load}", "Where the keys of requests came from."),
    ("keybound.lease.lapses", _lapses, "{load}", "Look-ups that had to sync with the store first."),
    (
        "keybound.redis.refused",
        _refused_records,
        "{record}",
        "Records in Redis that were not believed.",
    ),
    ("keybound.messages", _messages, "{message}", "Messages about changes, as they were heard."),
    ("keybound.listener.rebuilds", _rebuilds, "{rebuild}", "Subscriptions that were made anew."),
)

_GAUGES: tuple[tuple[str, Read, str, str], ...] = (
    ("keybound.cache.entries", _kept, "{entry}", "What is remembered in memory."),
)
