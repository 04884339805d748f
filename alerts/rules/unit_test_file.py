"""Unit-test files for rules, in promtool's format: reading and checking them.

Source: Prometheus documentation, "Unit Testing for Rules"; cmd/promtool/unittest.go.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from alerts.documents import Document, read_document
from alerts.errors import DocumentError, Problem
from alerts.promql.native import NativeHistogram
from alerts.promql.notation import (
    NotationError,
    SequenceValue,
    parse_leading_metric,
    parse_metric,
    parse_series,
)
from alerts.sections import Keys, Section, open_section
from alerts.series.labels import Labels

_FILE_KEYS: Final = Keys(
    ("rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare")
)
_TEST_KEYS: Final = Keys(
    (
        "name",
        "interval",
        "start_timestamp",
        "input_series",
        "alert_rule_test",
        "promql_expr_test",
        "external_labels",
        "external_url",
    )
)
_SERIES_KEYS: Final = Keys(("series", "values"))
_ALERT_CASE_KEYS: Final = Keys(("eval_time", "alertname", "exp_alerts"))
_ALERT_KEYS: Final = Keys(("exp_labels", "exp_annotations"))
_EXPRESSION_CASE_KEYS: Final = Keys(("expr", "eval_time", "exp_samples"))
_SAMPLE_KEYS: Final = Keys(("labels", "value", "histogram"))
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(?:Z|([-+])(\d\d):(\d\d))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS: Final = 2**53


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the test file."""

    file: str
    line: int
    column: int

    def problem(self, message: str) -> Problem:
        """Return a problem at this place."""
        return Problem(self.file, self.line, self.column, message)


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """An alert that has to be firing; empty values are not the same as none."""

    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class AlertCase:
    """The alerts of one name that fire at a time, all of them."""

    place: Place
    alert: str
    at_ms: int
    expected: tuple[ExpectedAlert, ...]


@dataclass(frozen=True, slots=True)
class ExpectedSample:
    """A sample an expression has to give."""

    labels: Labels
    value: float | NativeHistogram


@dataclass(frozen=True, slots=True)
class ExpressionCase:
    """What an expression has to give at a time."""

    place: Place
    expression: str
    at_ms: int
    expected: tuple[ExpectedSample, ...]


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test: series, and what is expected of the rules over them.

    Attributes:
        name: As the file has it; empty when it has none.
        place: Where it stands.
        interval_ms: Between the values of the series.
        start_ms: The time of their first value.
        series: Values by labels.
        alerts: Expectations on alerts.
        expressions: Expectations on queries.
        external_labels: What templates see as external labels.
        external_url: What templates see as external URL.
        problems: What is wrong with the test itself; it fails without running.
    """

    name: str
    place: Place
    interval_ms: int
    start_ms: int
    series: dict[Labels, list[SequenceValue]]
    alerts: tuple[AlertCase, ...]
    expressions: tuple[ExpressionCase, ...]
    external_labels: Labels
    external_url: str
    problems: tuple[Problem, ...]

    @property
    def last_ms(self) -> int:
        """The latest time anything is expected at, after the start."""
        times = [case.at_ms for case in self.alerts] + [case.at_ms for case in self.expressions]
        return max(times, default=0)


@dataclass(frozen=True, slots=True)
class RuleTestFile:
    """A file of tests.

    Attributes:
        file: Its path as the user gave it.
        rule_patterns: Globs of rule files, relative to the test file.
        evaluation_interval_ms: Between the evaluations of all groups.
        group_order: Names of groups in the order they are evaluated in.
        compares_fuzzily: Whether the floats next to a value count as equal to it.
        tests: The tests in file order.
    """

    file: str
    rule_patterns: tuple[str, ...]
    evaluation_interval_ms: int
    group_order: tuple[str, ...]
    compares_fuzzily: bool
    tests: tuple[RuleTest, ...]


def read_rule_tests(path: Path) -> RuleTestFile:
    """Read a file of unit tests.

    What is wrong with the series or the expectations of one test belongs to that test; it fails
    and the others run.

    Raises:
        DocumentError: It is no file of unit tests; lists every problem.
    """
    document = read_document(path)
    reader = _Reader(document)
    tests = reader.file()
    if reader.problems:
        raise DocumentError(reader.problems)
    return tests


@dataclass(frozen=True, slots=True)
class _Reader:
    document: Document
    problems: list[Problem] = field(default_factory=list)

    def file(self) -> RuleTestFile:
        data = {} if self.document.data is None else self.document.data
        top = open_section(self.document, (), data, self.problems, "a test file")
        if top is None:
            return RuleTestFile(self.document.file, (), 0, (), False, ())
        top.check_keys(_FILE_KEYS, "a test file")
        interval_ms = _milliseconds(top.duration("evaluation_interval", 60.0)) or 60_000
        order = top.texts("group_eval_order")
        for index, name in enumerate(order):
            if name in order[:index]:
                path = ("group_eval_order", index)
                message = f"the group {name!r} stands twice in the order of evaluation"
                self.problems.append(self.document.problem(path, message))
        tests = [
            self.test(section, interval_ms)
            for section in top.sections("tests", _TEST_KEYS, "a test")
        ]
        return RuleTestFile(
            file=self.document.file,
            rule_patterns=tuple(top.texts("rule_files")),
            evaluation_interval_ms=interval_ms,
            group_order=tuple(order),
            compares_fuzzily=top.flag("fuzzy_compare", default=False),
            tests=tuple(tests),
        )

    def test(self, section: Section, interval_ms: int) -> RuleTest:
        problems: list[Problem] = []
        alerts = section.sections("alert_rule_test", _ALERT_CASE_KEYS, "an alert test")
        expressions = section.sections("promql_expr_test", _EXPRESSION_CASE_KEYS, "a query test")
        return RuleTest(
            name=section.text("name"),
            place=_place(section),
            interval_ms=_milliseconds(section.duration("interval", 0.0)) or interval_ms,
            start_ms=self.start_ms(section),
            series=self.series(section, problems),
            alerts=tuple(self.alert_case(each, problems) for each in alerts),
            expressions=tuple(self.expression_case(each, problems) for each in expressions),
            external_labels=Labels(section.text_map("external_labels")),
            external_url=section.text("external_url"),
            problems=tuple(problems),
        )

    def start_ms(self, section: Section) -> int:
        text = section.text("start_timestamp")
        if not text:
            return 0
        found = _timestamp_ms(text)
        if found is None:
            section.report(
                "start_timestamp",
                f"start_timestamp: {text!r} is neither Unix seconds nor like 2026-01-31T12:00:00Z",
            )
        return found or 0

    def series(
        self, section: Section, problems: list[Problem]
    ) -> dict[Labels, list[SequenceValue]]:
        found: dict[Labels, list[SequenceValue]] = {}
        for each in section.sections("input_series", _SERIES_KEYS, "a series"):
            series, values = each.text("series"), each.text("values")
            try:
                labels, numbers = parse_series(f"{series} {values}")
            except NotationError as error:
                key, message = _explain(series, error)
                problems.append(self.document.problem((*each.path, key), message))
                continue
            found[labels] = numbers
        return found

    def alert_case(self, section: Section, problems: list[Problem]) -> AlertCase:
        name = section.text("alertname")
        if not name:
            problems.append(_place(section).problem("alertname is missing"))
        expected: list[ExpectedAlert] = []
        for index, item in enumerate(section.items("exp_alerts")):
            path = (*section.path, "exp_alerts", index)
            data = {} if item is None else item
            alert = open_section(self.document, path, data, self.problems, "an alert")
            if alert is not None:
                alert.check_keys(_ALERT_KEYS, "an alert")
                labels = {**alert.text_map("exp_labels"), "alertname": name}
                expected.append(ExpectedAlert(labels, alert.text_map("exp_annotations")))
        at_ms = _milliseconds(section.duration("eval_time", 0.0))
        return AlertCase(_place(section), name, at_ms, tuple(expected))

    def expression_case(self, section: Section, problems: list[Problem]) -> ExpressionCase:
        samples = section.sections("exp_samples", _SAMPLE_KEYS, "a sample")
        expected = [self.sample(each, problems) for each in samples]
        return ExpressionCase(
            place=_place(section),
            expression=section.text("expr"),
            at_ms=_milliseconds(section.duration("eval_time", 0.0)),
            expected=tuple(sample for sample in expected if sample is not None),
        )

    def sample(self, section: Section, problems: list[Problem]) -> ExpectedSample | None:
        key = "labels"
        try:
            labels = parse_metric(section.text(key))
            key = "histogram"
            text = section.text(key)
            if not text:
                return ExpectedSample(labels, self.number(section, "value"))
            _, values = parse_series(f"{{}} {text}")
        except NotationError as error:
            problems.append(self.document.problem((*section.path, key), f"{key}: {error}"))
            return None
        if len(values) != 1 or not isinstance(values[0], NativeHistogram):
            message = f"histogram: {text!r} is not one histogram"
            problems.append(self.document.problem((*section.path, key), message))
            return None
        return ExpectedSample(labels, values[0])

    def number(self, section: Section, key: str) -> float:
        text = section.text(key, "0")
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
        infinite = _INFINITE.fullmatch(text)
        if infinite:
            return -math.inf if infinite[1] == "-" else math.inf
        if text in (".nan", ".NaN", ".NAN"):
            return math.nan
        value = section.data.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        section.report(key, f"{key} must be a number, .inf, -.inf or .nan, not {text!r}")
        return 0.0


def _explain(series: str, error: NotationError) -> tuple[str, str]:
    """Return the key an error belongs to, and the message: one text was read, people see two."""
    try:
        parse_leading_metric(series)
    except NotationError as unfinished:
        error = unfinished
    if error.offset <= len(series):
        return "series", f"series: {error} (character {error.offset + 1} of the text)"
    return "values", f"values: {error} (character {error.offset - len(series)} of the text)"


def _place(section: Section) -> Place:
    position = section.document.position(section.path)
    return Place(section.document.file, position.line, position.column)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _timestamp_ms(text: str) -> int | None:
    """Return a Unix or RFC 3339 time in milliseconds; None when it is neither."""
    try:
        seconds = float(text)
    except ValueError:
        return _rfc3339_ms(text)
    if not math.isfinite(seconds) or abs(seconds) * 1000 > _MAX_MS:
        return None
    return round(seconds * 1000)


def _rfc3339_ms(text: str) -> int | None:
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime(*(int(part) for part in found.groups()[:6]), tzinfo=UTC)  # type: ignore[misc, arg-type]  # six numbers
    except ValueError:
        return None
    delta = moment - _EPOCH
    milliseconds = (delta.days * 86_400 + delta.seconds) * 1000 + int(float(found[7] or 0) * 1000)
    if found[8]:
        shift = timedelta(hours=int(found[9]), minutes=int(found[10])).total_seconds() * 1000
        milliseconds -= int(shift) * (1 if found[8] == "+" else -1)
    return milliseconds
