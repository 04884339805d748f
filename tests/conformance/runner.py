"""Runs scripts in the format of ``promqltest`` as Prometheus's own runner does.

Every instant case is also evaluated with its selectors pinned by ``@`` at other times, and as the
middle step of a range query. Which cases need native histograms or experimental features follows
from what they say and what was loaded, never from where they stand.
"""

from __future__ import annotations

import math
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.promql.errors import PromQLError
from alerts.promql.features import EXPERIMENTAL_FUNCTIONS
from alerts.promql.memo import Memo
from alerts.promql.native import NativeHistogram
from alerts.promql.nodes import (
    Aggregate,
    Binary,
    Call,
    Negate,
    Node,
    Number,
    RangeSelector,
    Selector,
    String,
    Subquery,
    children,
)
from alerts.promql.plan import Query
from alerts.promql.signatures import FUNCTIONS, UNSUPPORTED
from alerts.promql.tokens import Token, tokenize
from alerts.promql.values import InstantResult, RangeResult
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.matchers import Matcher
from alerts.series.store import SeriesStore
from tests.conformance.script import Clear, Eval, Load, Note, read_script

Group = Literal["plain", "durations", "native", "experimental"]
"""What a case needs; durations are duration expressions, stable since Prometheus 3.14."""

_TOLERANCE = 1e-6
_SMALLEST_NORMAL = sys.float_info.min
_MINUTE_MS = 60_000
_MAX_SAMPLES = 10_000
_RETENTION_S = 1e12
_TIME_FUNCTIONS = frozenset(
    {
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "end",
        "hour",
        "minute",
        "month",
        "predict_linear",
        "range",
        "start",
        "step",
        "time",
        "timestamp",
        "year",
    }
)
_NATIVE_FUNCTIONS = frozenset(
    f"histogram_{name}" for name in ("avg", "count", "stddev", "stdvar", "sum")
)
_EXPERIMENTAL_CALLS = UNSUPPORTED | {"fill", "fill_left", "fill_right"}
_EXPERIMENTAL_MODIFIERS = frozenset({"anchored", "smoothed"})
_RANGE_WORDS = ("start()", "end()", "range()", "step()")

Values = Mapping[Labels, Mapping[int, float]]
"""Points of series, by time in milliseconds."""


class MismatchError(Exception):
    """An answer that is not the expected one."""


@dataclass(slots=True)
class Report:
    """How the cases of a script went.

    Attributes:
        total: Cases by group.
        passed: Those that passed.
        failures: The others of the groups that must pass, each with line and reason.
    """

    total: Counter[Group] = field(default_factory=Counter)
    passed: Counter[Group] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def run_script(text: str) -> Report:
    """Run a script; cases of every group are tried, those that can be read.

    Raises:
        ScriptError: It is no script.
    """
    report = Report()
    data = _Data()
    for command in read_script(text):
        match command:
            case Clear():
                data = _Data()
            case Load():
                data.load(command)
            case Eval():
                _try(command, data, report)
    return report


@dataclass(slots=True)
class _Data:
    """What was loaded since the last clear."""

    points: dict[Labels, dict[int, float]] = field(default_factory=dict)
    native: set[Labels] = field(default_factory=set)
    started: set[Labels] = field(default_factory=set)
    current: Engine | None = None

    def load(self, command: Load) -> None:
        self.current = None
        self.started |= command.started
        for labels, values in command.series:
            points = self.points.setdefault(labels, {})
            for at, value in enumerate(values):
                if isinstance(value, NativeHistogram):
                    self.native.add(labels)
                elif value is not None:
                    points[at * command.step_ms] = value
            if command.converts:
                self._convert(labels)

    def _convert(self, labels: Labels) -> None:
        """Note the native histogram that series of a classic one are converted to."""
        name = labels.metric_name
        for suffix in ("_bucket", "_count", "_sum"):
            if name.endswith(suffix):
                base = name.removesuffix(suffix)
                self.native.add(labels.merge({METRIC_NAME: base, "le": ""}))

    def engine(self) -> Engine:
        """Return an engine over what was loaded; series with the same times share a source."""
        if self.current is None:
            store = SeriesStore(clock=ManualClock(0.0), retention_s=_RETENTION_S)
            together: dict[tuple[int, ...], list[Labels]] = {}
            for labels, points in self.points.items():
                together.setdefault(tuple(sorted(points)), []).append(labels)
            for number, (times, members) in enumerate(together.items()):
                source = store.source(str(number))
                for at_ms in times:
                    source.append(at_ms, [(one, self.points[one][at_ms]) for one in members])
            self.current = Engine(
                store,
                max_samples=_MAX_SAMPLES,
                delays_name_removal=True,
                features={EXPERIMENTAL_FUNCTIONS},
            )
        return self.current


def _try(case: Eval, data: _Data, report: Report) -> None:
    engine = data.engine()
    group: Group = "plain"
    try:
        try:
            query = engine.prepare(case.expression)
        except PromQLError as error:
            group = _group_of_tokens(tokenize(case.expression))
            raise MismatchError(f"not parsed: {error}") from error
        group = _group(case, query, data)
        _check(case, query, engine)
        report.passed[group] += 1
    except MismatchError as mismatch:
        if group in ("plain", "durations"):
            report.failures.append(f"line {case.line}: {case.expression}: {mismatch}")
    report.total[group] += 1


# Which group a case belongs to


def _group(case: Eval, query: Query, data: _Data) -> Group:
    calls = {node.function for node in _nodes(query.root) if isinstance(node, Call)}
    by_tokens = _group_of_tokens(tokenize(case.expression))
    if any(FUNCTIONS[name].experimental for name in calls) or by_tokens == "experimental":
        return "experimental"
    if (
        calls & _NATIVE_FUNCTIONS
        or _select(query.selectors, data.native)
        or any(isinstance(value, NativeHistogram) for _, values in case.series for value in values)
    ):
        return "native"
    # Start timestamps are seen by functions over ranges of samples only, not through subqueries.
    ranges = [node.selector for node in _nodes(query.root) if isinstance(node, RangeSelector)]
    sees_starts = _select([each.matchers for each in ranges], data.started)
    return "experimental" if sees_starts else by_tokens


def _select(selectors: Iterable[Sequence[Matcher]], series: set[Labels]) -> bool:
    return any(
        all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)
        for matchers in selectors
        for labels in series
    )


def _group_of_tokens(tokens: list[Token]) -> Group:
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        is_modifier = before.kind != "operator" or before.text in ")]}"
        if token.kind == "name" and is_modifier and token.text.lower() in _EXPERIMENTAL_MODIFIERS:
            return "experimental"
        if before.text.lower() in _EXPERIMENTAL_CALLS and token.text in ("(", "by", "without"):
            return "experimental"
        if token.text.lower() in _EXPERIMENTAL_CALLS and after.text in ("(", "by", "without"):
            return "experimental"
    if any(token.kind == "operator" and token.text in ("</", ">/") for token in tokens):
        return "native"
    return "durations" if _has_duration_expression(tokens) else "plain"


def _has_duration_expression(tokens: list[Token]) -> bool:
    """Tell whether a range or an offset is more than one number with a sign."""
    inside = False
    for at, token in enumerate(tokens):
        if token.kind == "operator" and token.text in "[]":
            inside = token.text == "["
        elif inside and token.kind == "operator" and token.text in "+-*/%^(":
            return True
        elif token.kind == "name" and token.text.lower() == "offset":
            following = next(one for one in tokens[at + 1 :] if one.text not in ("+", "-"))
            if following.kind == "name" or following.text == "(":
                return True
    return False


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _nodes(child)


# Running a case


def _check(case: Eval, query: Query, engine: Engine) -> None:
    if case.step_ms is not None:
        _check_range(case, query, engine, case.step_ms)
        return
    _check_instant(case, query, engine, case.start_ms)
    calls = {node.function for node in _nodes(query.root) if isinstance(node, Call)}
    if calls & _TIME_FUNCTIONS:
        return
    pinned = replace(query, root=_pin(query.root, case.start_ms), memo=Memo())
    at_ms = case.start_ms
    for other_ms in (-10 * at_ms, 0, math.trunc(at_ms / 5), at_ms, 10 * at_ms):
        try:
            _check_instant(case, pinned, engine, other_ms)
        except MismatchError as mismatch:
            raise MismatchError(f"pinned, evaluated at {other_ms} ms: {mismatch}") from mismatch


def _check_range(case: Eval, query: Query, engine: Engine, step_ms: int) -> None:
    try:
        result = engine.range(query, case.start_ms, case.end_ms, step_ms)
    except PromQLError as error:
        _check_failure(case, error)
        return
    _check_answered(case, result)
    found = _points(result)
    _check_sorted(result)
    if case.scalar is not None:
        raise MismatchError("a range query gives no scalar")
    _compare(_expected(case, case.start_ms, step_ms), found)


def _check_instant(case: Eval, query: Query, engine: Engine, at_ms: int) -> None:
    try:
        result = engine.instant(query, at_ms)
    except PromQLError as error:
        _check_failure(case, error)
        return
    _check_answered(case, result)
    if case.text is not None:
        if result.text != case.text:
            raise MismatchError(f"the string is {result.text!r}")
        return
    if case.points is not None:
        _compare(_expected(case, *case.points), _points(result))
        return
    _compare_instant(case, result)
    is_about_range = any(word in case.expression for word in _RANGE_WORDS)
    if case.ordered or is_about_range or result.kind not in ("scalar", "vector"):
        return
    try:
        _check_middle(case, query, engine, at_ms)
    except (MismatchError, PromQLError) as error:
        raise MismatchError(f"as the middle of a range: {error}") from error


def _check_middle(case: Eval, query: Query, engine: Engine, at_ms: int) -> None:
    result = engine.range(query, at_ms - _MINUTE_MS, at_ms + _MINUTE_MS, _MINUTE_MS)
    _check_sorted(result)
    middle = {
        labels: {0: points[at_ms]} for labels, points in _points(result).items() if at_ms in points
    }
    if case.scalar is not None:
        _compare({Labels(): {0: case.scalar}}, middle)
    else:
        _compare(_expected(case, 0, 1), middle)


def _check_failure(case: Eval, error: PromQLError) -> None:
    if case.fail is None:
        raise MismatchError(f"it failed: {error}") from error
    if not case.fail.matches(error.message):
        raise MismatchError(f"it failed otherwise: {error}") from error


def _check_answered(case: Eval, result: InstantResult | RangeResult) -> None:
    if case.fail is not None:
        raise MismatchError("it did not fail")
    _check_notes(case.warnings, result.warnings)
    _check_notes(case.infos, result.infos)


def _check_notes(expected: list[Note] | None, found: tuple[str, ...]) -> None:
    if expected is None and found:
        raise MismatchError(f"there are annotations: {found}")
    if not expected:
        return
    for note in expected:
        if not any(note.matches(text) for text in found):
            raise MismatchError(f"the annotation {note} is missing among {found}")
    for text in found:
        if not any(note.matches(text) for note in expected):
            raise MismatchError(f"the annotation {text!r} is not expected")


def _check_sorted(result: RangeResult) -> None:
    labels = [points.labels for points in result.series]
    if labels != sorted(labels):
        raise MismatchError("the series are not sorted by labels")


# Comparing


def _compare_instant(case: Eval, result: InstantResult) -> None:
    if case.scalar is not None and result.kind != "scalar":
        raise MismatchError(f"a scalar is expected, not a {result.kind}")
    if case.scalar is None and result.kind != "vector":
        raise MismatchError(f"a vector is expected, not a {result.kind}")
    found = {sample.labels: {0: sample.value} for sample in result.samples}
    if len(found) != len(result.samples):
        raise MismatchError("two samples have the same labels")
    expected = _expected(case, 0, 1) if case.scalar is None else {Labels(): {0: case.scalar}}
    if case.ordered and list(found) != list(expected):
        raise MismatchError(f"the order is {list(found)}")
    _compare(expected, found)


def _expected(case: Eval, start_ms: int, step_ms: int) -> Values:
    expected: dict[Labels, dict[int, float]] = {}
    for labels, values in case.series:
        if labels in expected:
            raise MismatchError(f"{labels} is expected twice")
        points = {
            start_ms + at * step_ms: value
            for at, value in enumerate(values)
            if isinstance(value, float)
        }
        if points:
            expected[labels] = points
    return expected


def _points(result: InstantResult | RangeResult) -> Values:
    return {
        points.labels: dict(zip(points.timestamps_ms.tolist(), points.values.tolist(), strict=True))
        for points in result.series
    }


def _compare(expected: Values, found: Values) -> None:
    if set(expected) != set(found):
        missing, extra = set(expected) - set(found), set(found) - set(expected)
        raise MismatchError(f"missing {sorted(missing)}, not expected {sorted(extra)}")
    for labels, points in expected.items():
        others = found[labels]
        if list(points) != list(others):
            raise MismatchError(f"{labels} has points at {list(others)} ms, not at {list(points)}")
        for at_ms, value in points.items():
            if not is_close(value, others[at_ms]):
                raise MismatchError(f"{labels} at {at_ms} ms is {others[at_ms]!r}, not {value!r}")


def is_close(one: float, other: float) -> bool:
    """Tell whether two floats are the same but for rounding; a staleness marker is only itself."""
    if math.isnan(one) or math.isnan(other):
        if not (math.isnan(one) and math.isnan(other)):
            return False
        return _is_stale(one) == _is_stale(other)
    if one == other:
        return True
    difference = abs(one - other)
    size = min(abs(one) + abs(other), sys.float_info.max)
    if 0.0 in (one, other) or size < _SMALLEST_NORMAL:
        return difference < _TOLERANCE * _SMALLEST_NORMAL
    return difference / size < _TOLERANCE


def _is_stale(value: float) -> bool:
    return struct.pack("<d", value) == struct.pack("<Q", 0x7FF0000000000002)


# Pinning


def _pin(node: Node, at_ms: int) -> Node:  # noqa: PLR0911 - one return per kind of node
    """Return the expression with every selector that has no time pinned to one.

    A subquery is pinned as a whole; what is inside stays as it is.
    """
    match node:
        case Number() | String():
            return node
        case Selector():
            return replace(node, at=at_ms) if node.at is None else node
        case RangeSelector():
            inner = node.selector
            return replace(node, selector=replace(inner, at=at_ms)) if inner.at is None else node
        case Subquery():
            return replace(node, at=at_ms) if node.at is None else node
        case Call():
            return replace(node, args=tuple(_pin(arg, at_ms) for arg in node.args))
        case Negate():
            return replace(node, expr=_pin(node.expr, at_ms))
        case Binary():
            return replace(node, lhs=_pin(node.lhs, at_ms), rhs=_pin(node.rhs, at_ms))
        case Aggregate():
            param = None if node.param is None else _pin(node.param, at_ms)
            return replace(node, expr=_pin(node.expr, at_ms), param=param)
