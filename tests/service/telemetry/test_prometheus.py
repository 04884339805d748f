"""OpenTelemetry metrics under Prometheus's names, and the page that shows them."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider

from service.telemetry.definitions import DEFINITIONS
from service.telemetry.exposition import OPENMETRICS_TEXT, PROMETHEUS_TEXT, negotiate, render
from service.telemetry.prometheus import (
    SampleName,
    Translator,
    format_value,
    label_pairs,
    metric_name,
)
from tests.support.exposition import parse_exposition


class Recorder:
    """A meter whose collections are translated."""

    def __init__(self, *views: View) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False, views=views)
        self.meter = self.provider.get_meter("test")
        self.translator = Translator({"service.name": "gatewatch"})

    def collect(self) -> MetricsData:
        data = self._reader.get_metrics_data()
        assert data is not None
        return data

    def page(self, content_type: str = PROMETHEUS_TEXT) -> str:
        return render(self.translator.translate(self.collect()), content_type).decode()


@pytest.mark.parametrize(
    ("name", "unit", "counter", "expected"),
    [
        ("gateway.connection.count", "{connection}", False, "gateway_connection_count"),
        ("gateway.message.io", "By", True, "gateway_message_io_bytes_total"),
        ("process.cpu.time", "s", True, "process_cpu_time_seconds_total"),
        ("probe_duration", "s", False, "probe_duration_seconds"),
        ("already_total", "", True, "already_total"),
        ("wait_seconds", "s", False, "wait_seconds"),
        ("rate", "{message}/s", False, "rate_per_second"),
        ("speed", "m/s", False, "speed_meters_per_second"),
        ("used", "%", False, "used_percent"),
        ("share", "1", False, "share"),
        ("seconds", "s", False, "seconds"),
        ("milliseconds", "s", False, "milliseconds_seconds"),
        ("a..b--c", "", False, "a_b_c"),
        ("9lives", "", False, "_9lives"),
        ("odd", "furlong", False, "odd_furlong"),
    ],
)
def test_names_follow_the_compatibility_rules(name, unit, counter, expected):
    """Dots become underscores, units are words at the end, counters end with _total."""
    assert metric_name(name, unit, counter=counter) == expected


def test_our_own_names_are_all_different():
    """No two instruments of the service share a Prometheus name."""
    names = [
        metric_name(item.name, item.unit, counter=item.kind == "counter") for item in DEFINITIONS
    ]

    assert len(names) == len(set(names))


def test_labels_of_the_same_name_are_joined():
    """Attributes that differ in forbidden characters only become one label."""
    assert label_pairs({"a.b": "1", "a_b": "2", "empty": ""}) == (("a_b", "1;2"),)


def test_attribute_values_become_text():
    """Booleans, numbers and lists have one way to be written."""
    labels = dict(label_pairs({"bool": True, "int": 5, "list": ("a", "b"), "0": 1.5}))

    assert labels == {"bool": "true", "int": "5", "list": '["a", "b"]', "_0": "1.5"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1.0"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")],
)
def test_numbers_are_written_as_the_formats_demand(value, text):
    """Integers stay integers, the special values have their names."""
    assert format_value(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_label_value_survives_the_page(value):
    """What is escaped is read back as it was."""
    line = SampleName.create("x", (("a", value),)).prefix + "1\n"

    family = parse_exposition(f"# HELP x \n# TYPE x gauge\n{line}")["x"]

    assert family.samples[0][1] == {"a": value}


@pytest.mark.parametrize("content_type", [PROMETHEUS_TEXT, OPENMETRICS_TEXT])
def test_the_page_is_well_formed(content_type):
    """Counters, gauges and histograms with awkward labels pass a strict reader."""
    recorder = Recorder()
    counter = recorder.meter.create_counter("sent", unit="By", description='a "b"\n\\c')
    counter.add(5, {"to.whom": 'x"y\\z\n'})
    recorder.meter.create_up_down_counter("open", unit="{connection}").add(-2)
    histogram = recorder.meter.create_histogram(
        "took", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.0]
    )
    for value in (0.5, 0.7, 3.0):
        histogram.record(value, {"job": "a"})

    openmetrics = content_type == OPENMETRICS_TEXT
    families = parse_exposition(recorder.page(content_type), openmetrics=openmetrics)

    took = {
        labels.get("le", name): value for name, labels, value, _ in families["took_seconds"].samples
    }
    assert took == {
        "0.5": 1, "1.0": 2, "+Inf": 3, "took_seconds_sum": 4.2, "took_seconds_count": 3,
    }  # fmt: skip
    sent = families["sent_bytes" if openmetrics else "sent_bytes_total"]
    assert sent.samples == [("sent_bytes_total", {"to_whom": 'x"y\\z\n'}, 5, {})]
    assert families["open"].samples[0][2] == -2
    target = families["target" if openmetrics else "target_info"]
    assert target.samples[0][1] == {"service_name": "gatewatch"}


def test_exemplars_are_shown_in_openmetrics():
    """A measurement made in a sampled trace leads from its bucket to the trace."""
    recorder = Recorder()
    histogram = recorder.meter.create_histogram("took", explicit_bucket_boundaries_advisory=[1.0])
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    with tracer.start_as_current_span("work") as span:
        histogram.record(3.0)
    families = parse_exposition(recorder.page(OPENMETRICS_TEXT), openmetrics=True)

    found = {labels.get("le"): item for _, labels, _, item in families["took"].samples}
    assert found["+Inf"]["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert not found["1.0"]


def test_a_series_keeps_its_names():
    """Translating the same series again makes no new names, attributes or none."""
    recorder = Recorder()
    counter = recorder.meter.create_counter("sent")
    counter.add(1, {"a": "b"})
    counter.add(1)

    first = recorder.translator.translate(recorder.collect())
    second = recorder.translator.translate(recorder.collect())

    assert len(first[1].points) == 2
    for before, after in zip(first[1].points, second[1].points, strict=True):
        assert before.series is after.series


def test_a_name_belongs_to_one_instrument(caplog):
    """A second instrument that would have the same name is left out and named in the log once."""
    recorder = Recorder()
    recorder.meter.create_counter("sent.items").add(1)
    recorder.provider.get_meter("other").create_counter("sent_items").add(5)

    with caplog.at_level(logging.WARNING):
        recorder.page()
        families = parse_exposition(recorder.page())

    assert families["sent_items_total"].samples[0][2] == 1
    assert caplog.text.count("rename one") == 1


def test_labels_that_become_the_same_series_are_shown_once():
    """Of two series that differ in forbidden characters only, the first is shown."""
    recorder = Recorder()
    counter = recorder.meter.create_counter("sent")
    counter.add(1, {"a.b": "x"})
    counter.add(2, {"a_b": "x"})

    families = parse_exposition(recorder.page())

    assert [value for _, _, value, _ in families["sent_total"].samples] == [1]


def test_exponential_histograms_are_refused_by_name(caplog):
    """What the text formats cannot show is left out, and the log says which and what to do."""
    recorder = Recorder(
        View(instrument_name="took", aggregation=ExponentialBucketHistogramAggregation())
    )
    recorder.meter.create_histogram("took").record(1.0)

    with caplog.at_level(logging.WARNING):
        page = recorder.page()

    assert "took" not in page
    assert "Metric took is not shown" in caplog.text


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PROMETHEUS_TEXT),
        ("*/*", PROMETHEUS_TEXT),
        ("text/plain;version=0.0.4", PROMETHEUS_TEXT),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS_TEXT),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.2,*/*;q=0.1", OPENMETRICS_TEXT),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", PROMETHEUS_TEXT),
        ("application/openmetrics-text;q=broken", PROMETHEUS_TEXT),
        ("application/json", PROMETHEUS_TEXT),
    ],
)  # fmt: skip
def test_the_scraper_chooses_the_format(accept, expected):
    """The media type with the highest quality wins; anything else gets Prometheus text."""
    assert negotiate(accept) == expected
