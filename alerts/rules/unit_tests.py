"""Runs unit tests for rules, with promtool's algorithm and so with its verdicts.

All groups are evaluated at the interval of the test file, over the samples up to that time;
alerts are compared as the evaluations go by, expressions at the end.

Native histograms can be series of a test and be looked up by a plain selector; an expression that
would compute with them is an error.

Source: Prometheus, cmd/promtool/unittest.go.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from alerts.clock import Clock, ManualClock
from alerts.durations import format_duration
from alerts.errors import AlertsError, DocumentError, Problem
from alerts.promql.engine import Engine
from alerts.promql.errors import PromQLError
from alerts.promql.native import NativeHistogram
from alerts.promql.nodes import Selector
from alerts.promql.notation import SequenceValue
from alerts.promql.plan import Query
from alerts.promql.values import Sample
from alerts.rules.alerting import AlertingRule, AlertState, External
from alerts.rules.file import load_rules
from alerts.rules.model import AlertingDefinition, GroupDefinition
from alerts.rules.recording import RecordingRule
from alerts.rules.unit_test_file import (
    AlertCase,
    ExpectedSample,
    ExpressionCase,
    RuleTest,
    RuleTestFile,
    read_rule_tests,
)
from alerts.series.labels import Labels, quote
from alerts.series.matchers import Matcher
from alerts.series.source import Source
from alerts.series.store import SeriesStore

_LOOKBACK_MS: Final = 300_000
_KEEP_EVERYTHING_S: Final = 1e12


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How the rules of a test are read and evaluated.

    Attributes:
        features: The features of ``alerts.promql.features`` that are enabled.
        ignores_unknown_keys: Let keys of rule files pass that the format has not.
    """

    features: frozenset[str] = frozenset()
    ignores_unknown_keys: bool = False


DEFAULT_OPTIONS: Final = RunOptions()
"""Rules as a process without settings takes them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that is not as expected.

    Attributes:
        problem: Where, and in a few words what.
        expected: What the test says, one entry each, sorted.
        got: What came out, likewise.
    """

    problem: Problem
    expected: tuple[str, ...] = ()
    got: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """How one test went.

    Attributes:
        name: Its name, or its number among the tests of the file.
        failures: Empty when it passed.
        duration_s: How long it took, in seconds.
        series: Every series there was at the end, if that was asked for.
    """

    name: str
    failures: tuple[Failure, ...]
    duration_s: float
    series: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileResult:
    """How the tests of a file went.

    Attributes:
        file: Its path as the user gave it.
        tests: The tests that were run.
        problems: Why none could be run.
        warnings: What is odd and no failure.
    """

    file: str
    tests: tuple[RuleTestResult, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.problems and not any(test.failures for test in self.tests)


def run_rule_tests(
    path: Path,
    *,
    clock: Clock,
    wants: Callable[[str], bool] = lambda _: True,
    with_series: bool = False,
    options: RunOptions = DEFAULT_OPTIONS,
) -> FileResult:
    """Run the tests of a file.

    Args:
        path: The file.
        clock: Measures how long tests take.
        wants: Tells by their names which tests to run; a test without a name has the empty one.
        with_series: Whether results carry every series, for people who debug rules.
        options: How rules are read.
    """
    try:
        tests = read_rule_tests(path)
    except DocumentError as error:
        return FileResult(str(path), problems=error.problems)
    files, warnings = _rule_files(tests, path.parent)
    wanted = [(index, test) for index, test in enumerate(tests.tests) if wants(test.name)]
    groups: tuple[GroupDefinition, ...] = ()
    if wanted:
        try:
            groups = _groups(tests, files, options)
        except DocumentError as error:
            return FileResult(tests.file, problems=error.problems, warnings=warnings)
    results = [
        _timed(
            _Run(tests, test, groups, options), test.name or f"unnamed#{index}", clock, with_series
        )
        for index, test in wanted
    ]
    return FileResult(tests.file, tuple(results), warnings=warnings)


def _rule_files(tests: RuleTestFile, directory: Path) -> tuple[list[Path], tuple[Problem, ...]]:
    files: list[Path] = []
    warnings: list[Problem] = []
    for pattern in tests.rule_patterns:
        # Path.glob refuses absolute patterns.
        names = sorted(glob.glob(str(directory / pattern), include_hidden=True))  # noqa: PTH207 - see above
        files += [Path(name) for name in names]
        if not names:
            warnings.append(Problem(tests.file, 0, 0, f"no rule file matches {pattern}"))
    return files, tuple(warnings)


def _groups(
    tests: RuleTestFile, files: Iterable[Path], options: RunOptions
) -> tuple[GroupDefinition, ...]:
    """Read the rules, in the order they are to be evaluated in."""
    store = SeriesStore(clock=ManualClock(0.0), retention_s=_KEEP_EVERYTHING_S)
    unique = dict.fromkeys(files)
    groups = load_rules(
        unique,
        engine=Engine(store, features=options.features),
        default_interval_s=60.0,
        ignores_unknown_keys=options.ignores_unknown_keys,
    )
    order = {name: index for index, name in enumerate(tests.group_order)}
    return tuple(sorted(groups, key=lambda group: order.get(group.name, 0)))


def _timed(run: _Run, name: str, clock: Clock, with_series: bool) -> RuleTestResult:
    started = clock.monotonic()
    run.run()
    duration_s = clock.monotonic() - started
    series = run.all_series() if with_series else ()
    return RuleTestResult(name, tuple(run.failures), duration_s, series)


@dataclass(frozen=True, slots=True)
class _TestedRule:
    rule: AlertingRule | RecordingRule
    group: GroupDefinition
    source: Source


class _Run:
    """One test at work."""

    def __init__(
        self,
        tests: RuleTestFile,
        test: RuleTest,
        groups: Sequence[GroupDefinition],
        options: RunOptions,
    ) -> None:
        self.failures: list[Failure] = []
        self._test = test
        self._compares_fuzzily = tests.compares_fuzzily
        self._interval_ms = tests.evaluation_interval_ms
        self._store = SeriesStore(clock=ManualClock(0.0), retention_s=_KEEP_EVERYTHING_S)
        self._engine = Engine(
            self._store,
            lookback_s=_LOOKBACK_MS / 1000,
            subquery_step_s=self._interval_ms / 1000,
            features=options.features,
        )
        self._histograms: dict[Labels, list[tuple[int, NativeHistogram | None]]] = {}
        self._inputs = [
            _Input(self._store.source(f"series:{index}"), labels, values)
            for index, (labels, values) in enumerate(test.series.items())
        ]
        external = External(test.external_url, test.external_labels)
        self._rules = [
            _TestedRule(
                AlertingRule(rule, external)
                if isinstance(rule, AlertingDefinition)
                else RecordingRule(rule),
                group,
                self._store.source(f"rule:{group.key};{index}"),
            )
            for group in groups
            for index, rule in enumerate(group.rules)
        ]

    def run(self) -> None:
        if self._test.problems:
            self.failures += [Failure(problem) for problem in self._test.problems]
            return
        last_ms = self._test.last_ms
        for passed_ms in range(0, last_ms + 1, self._interval_ms):
            self._append_until(passed_ms)
            if not self._evaluate(self._test.start_ms + passed_ms):
                return
            for case in self._test.alerts:
                if passed_ms <= case.at_ms < passed_ms + self._interval_ms:
                    self._compare_alerts(case)
        for expression in self._test.expressions:
            self._compare_expression(expression)

    def all_series(self) -> tuple[str, ...]:
        """Return every series with its samples, for people."""
        end_ms = self._test.start_ms + self._test.last_ms
        span_s = math.ceil(self._test.last_ms / 1000) + 1
        try:
            query = self._engine.prepare(f'{{__name__=~".+"}}[{span_s}s]')
            result = self._engine.instant(query, end_ms)
        except PromQLError as error:
            return (f"the series cannot be shown: {error}",)
        shown: list[str] = []
        for series in result.series:
            pairs = zip(series.timestamps_ms.tolist(), series.values.tolist(), strict=True)
            points = " ".join(f"{value:g} @{at / 1000:g}" for at, value in pairs)
            shown.append(f"{series.labels!r} {points}")
        for labels, entries in self._histograms.items():
            points = " ".join(f"{value or 'stale'} @{at / 1000:g}" for at, value in entries)
            shown.append(f"{labels!r} {points}")
        return tuple(shown)

    # Evaluation.

    def _append_until(self, passed_ms: int) -> None:
        test = self._test
        for series in self._inputs:
            count = min(len(series.values), passed_ms // test.interval_ms + 1)
            for place in range(series.appended, count):
                value = series.values[place]
                at_ms = test.start_ms + place * test.interval_ms
                if isinstance(value, NativeHistogram):
                    self._append_histogram(series.labels, at_ms, value)
                elif value is not None:
                    series.source.append(at_ms, [(series.labels, value)])
                    if series.labels in self._histograms:
                        self._histograms[series.labels].append((at_ms, None))
            series.appended = max(series.appended, count)

    def _append_histogram(self, labels: Labels, at_ms: int, value: NativeHistogram) -> None:
        entries = self._histograms.setdefault(labels, [])
        before = entries[-1][1] if entries else None
        if before is not None and value.hint != "gauge":
            is_reset = value.hint == "reset" or value.is_reset_after(before)
            value = replace(value, hint="reset" if is_reset else "not_reset")
        entries.append((at_ms, value))

    def _evaluate(self, timestamp_ms: int) -> bool:
        """Evaluate all rules; return whether none failed."""
        passed = True
        for tested in self._rules:
            rule, group = tested.rule, tested.group
            sample_ms = timestamp_ms - round(group.query_offset_s * 1000)
            try:
                samples = self._vector(rule.definition.query, sample_ms)
                if isinstance(rule, AlertingRule):
                    series = rule.evaluate(
                        samples,
                        timestamp_ms,
                        limit=group.limit,
                        query=lambda text: self._vector(self._engine.prepare(text), timestamp_ms),
                    )
                else:
                    series = rule.evaluate(samples, timestamp_ms, limit=group.limit)
                tested.source.append(sample_ms, series)
            except AlertsError as error:
                at = _time(timestamp_ms)
                message = f"{self._named}the rule {rule.name} fails at {at}: {error}"
                self.failures.append(Failure(self._test.place.problem(message)))
                passed = False
        return passed

    def _vector(self, query: Query, timestamp_ms: int) -> tuple[Sample, ...]:
        if self._histograms:
            self._refuse_histograms(query)
        return self._engine.instant_vector(query, timestamp_ms)

    def _refuse_histograms(self, query: Query) -> None:
        for matchers in query.selectors:
            for labels in self._histograms:
                if _matches(matchers, labels):
                    raise PromQLError(
                        f"{labels!r} is a native histogram: it can be looked up here by a plain "
                        f"selector, not be computed with"
                    )

    # Comparison.

    @property
    def _named(self) -> str:
        return f"{self._test.name}: " if self._test.name else ""

    def _compare_alerts(self, case: AlertCase) -> None:
        expected = sorted(
            (sorted(alert.labels.items()), sorted(alert.annotations.items()))
            for alert in case.expected
        )
        got = sorted(
            (sorted(instance.labels.items()), _annotations(tested.rule, instance.annotations))
            for tested in self._rules
            if isinstance(tested.rule, AlertingRule) and tested.rule.name == case.alert
            for instance in tested.rule.active
            if instance.state is AlertState.FIRING
        )
        if expected != got:
            message = f"{self._named}alert {case.alert} at {_time(case.at_ms)} is not as expected"
            self.failures.append(
                Failure(
                    case.place.problem(message),
                    tuple(_alert_text(*alert) for alert in expected),
                    tuple(_alert_text(*alert) for alert in got),
                )
            )

    def _compare_expression(self, case: ExpressionCase) -> None:
        where = f"{self._named}{case.expression} at {_time(case.at_ms)}"
        try:
            query = self._engine.prepare(case.expression)
            got = self._samples(query, self._test.start_ms + case.at_ms)
        except AlertsError as error:
            self.failures.append(Failure(case.place.problem(f"{where}: {error}")))
            return
        expected = sorted(case.expected, key=lambda sample: sample.labels.pairs)
        got.sort(key=lambda sample: sample.labels.pairs)
        if len(expected) == len(got) and all(map(self._is_same, expected, got)):
            return
        self.failures.append(
            Failure(
                case.place.problem(f"{where} is not as expected"),
                tuple(map(_sample_text, expected)),
                tuple(map(_sample_text, got)),
            )
        )

    def _samples(self, query: Query, timestamp_ms: int) -> list[ExpectedSample]:
        selector = query.root
        if not self._histograms or not isinstance(selector, Selector):
            samples = self._vector(query, timestamp_ms)
            return [ExpectedSample(sample.labels, sample.value) for sample in samples]
        found = [
            ExpectedSample(sample.labels, sample.value)
            for sample in self._engine.instant_vector(query, timestamp_ms)
        ]
        for labels, entries in self._histograms.items():
            if not _matches(selector.matchers, labels):
                continue
            if selector.at is not None or selector.offset != 0:
                raise PromQLError("offset and @ are not covered for native histograms")
            value = _newest(entries, timestamp_ms)
            if value is not None:
                found = [sample for sample in found if sample.labels != labels]
                found.append(ExpectedSample(labels, value))
        return found

    def _is_same(self, expected: ExpectedSample, got: ExpectedSample) -> bool:
        if expected.labels != got.labels:
            return False
        one, other = expected.value, got.value
        if isinstance(one, NativeHistogram) or isinstance(other, NativeHistogram):
            return str(one) == str(other)
        if one == other:
            return True
        neighbours = (math.nextafter(one, -math.inf), math.nextafter(one, math.inf))
        return self._compares_fuzzily and other in neighbours


@dataclass(slots=True)
class _Input:
    """A series of the test, and how many of its values are in the store."""

    source: Source
    labels: Labels
    values: list[SequenceValue]
    appended: int = 0


def _matches(matchers: Iterable[Matcher], labels: Labels) -> bool:
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)


def _newest(
    entries: Iterable[tuple[int, NativeHistogram | None]], timestamp_ms: int
) -> NativeHistogram | None:
    inside = [
        value for at_ms, value in entries if timestamp_ms - _LOOKBACK_MS < at_ms <= timestamp_ms
    ]
    return inside[-1] if inside else None


def _annotations(rule: AlertingRule, annotations: Labels) -> list[tuple[str, str]]:
    """Return the annotations of an alert, those that came out empty included."""
    return sorted((name, annotations.get(name, "")) for name, _ in rule.definition.annotations)


def _time(milliseconds: int) -> str:
    return format_duration(milliseconds / 1000)


def _alert_text(labels: list[tuple[str, str]], annotations: list[tuple[str, str]]) -> str:
    shown = _pairs(labels)
    return f"{shown} annotations {_pairs(annotations)}" if annotations else shown


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}={quote(text)}" for name, text in pairs) + "}"


def _sample_text(sample: ExpectedSample) -> str:
    value = sample.value
    shown = f"{value:.17g}" if isinstance(value, float) else str(value)
    if isinstance(value, float) and float(repr(value)) == value:
        shown = repr(value).removesuffix(".0")
    return f"{sample.labels!r} {shown}"
