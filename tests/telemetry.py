"""What OpenTelemetry is told in this process: a process has one reader of it, whoever looks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

READER = InMemoryMetricReader()
SPANS = InMemorySpanExporter()


@cache
def read() -> None:
    """Read what is measured and traced in this process, from now on."""
    metrics.set_meter_provider(MeterProvider([READER]))
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(SPANS))
    trace.set_tracer_provider(tracing)


def points() -> Iterator[tuple[str, Any]]:
    """Yield the points of every instrument of ours, each with the instrument's name."""
    data = READER.get_metrics_data()
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            if scope.scope.name == "keybound":
                for metric in scope.metrics:
                    yield from ((metric.name, point) for point in metric.data.data_points)


def attributes() -> list[str]:
    """Return all attributes of what was measured, and all that was traced, as text."""
    measured = [f"{name} {dict(point.attributes or {})}" for name, point in points()]
    traced = [span.to_json() for span in SPANS.get_finished_spans()]
    return [*measured, *traced]
