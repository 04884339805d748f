"""Walks a plan: evaluates each node over all steps at once and hands results to its operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from alerts.promql import (
    aggregations,
    binary,
    functions,
    histogram,
    label_functions,
    range_functions,
    signatures,
)
from alerts.promql.context import Context
from alerts.promql.errors import PromQLError
from alerts.promql.nodes import (
    SET_OPERATORS,
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
)
from alerts.promql.notes import is_named_as_counter
from alerts.promql.selectors import Windows, instant_vector, pinned, range_vector
from alerts.promql.vectors import Bools, Floats, Frame, Vector, merge_equal_labels
from alerts.series.bits import MISSING_BITS
from alerts.series.store import Block

Value = Vector | Floats | str
"""A vector, a scalar ``(steps,)``, or a string."""


def evaluate(node: Node, context: Context) -> Value:
    """Evaluate a node at the context's steps.

    Raises:
        PromQLError: The data does not allow it, or the node is a range vector.
    """
    context.budget.check()
    match node:
        case Number():
            # Rules spend their time in small steps: np.full takes thrice as long.
            number = np.empty(context.steps)
            number.fill(node.value)
            return number
        case String():
            return node.value
        case Selector():
            return instant_vector(node, context)[0]
        case RangeSelector() | Subquery():
            raise PromQLError("a range vector cannot be used here")
        case _:
            return _operate(node, context)


def _operate(node: Call | Negate | Binary | Aggregate, context: Context) -> Value:
    match node:
        case Call():
            return _call(node, context)
        case Negate():
            return _negate(node, context)
        case Binary():
            return _binary(node, context)
        case Aggregate():
            param = None if node.param is None else evaluate(node.param, context)
            if node.op == "quantile" and isinstance(param, np.ndarray) and node.param is not None:
                context.notes.invalid_quantiles(param, node.param.pos)
            if isinstance(param, Vector):
                raise PromQLError(f"the parameter of {node.op}() must be a scalar")
            return aggregations.aggregate(node, _vector(node.expr, context), param, context)


def windows(node: Node, context: Context) -> Windows:
    """Return the windows of a range selector or a subquery."""
    if isinstance(node, RangeSelector):
        return range_vector(node, context)
    if isinstance(node, Subquery):
        return _subquery(node, context)
    raise PromQLError("expected a range vector")


def _subquery(node: Subquery, context: Context) -> Windows:
    """Evaluate the inner expression at multiples of the step, and cut windows from the result."""
    ends = pinned(context, node.at, context.milliseconds(node.offset))
    range_ms = context.milliseconds(node.range)
    step_ms = (
        context.subquery_step_ms if node.step is None else max(context.milliseconds(node.step), 1)
    )
    after_ms = int(ends[0]) - range_ms
    first_ms = (after_ms // step_ms + 1) * step_ms
    steps = (int(ends[-1]) - first_ms) // step_ms + 1
    context.budget.take(max(steps, 0))
    times = np.arange(steps, dtype=np.int64) * step_ms + first_ms
    if steps <= 0:
        return Windows(Frame(()), [], ends, range_ms)
    inner = evaluate(node.expr, context.at(times))
    vector = functions.from_scalar(inner) if isinstance(inner, np.ndarray) else inner
    if isinstance(vector, str):
        raise PromQLError("a subquery of a string has no samples")
    samples = np.array(vector.values.T, order="C")
    samples.view(np.uint64)[~vector.present.T] = MISSING_BITS
    context.budget.take(samples.size)
    block = Block(slice(0, len(vector.frame)), times, samples)
    return Windows(vector.frame, [block], ends, range_ms)


def _vector(node: Node, context: Context) -> Vector:
    value = evaluate(node, context)
    if not isinstance(value, Vector):
        raise PromQLError("expected an instant vector")
    return value


def _scalar(node: Node, context: Context) -> Floats:
    value = evaluate(node, context)
    if not isinstance(value, np.ndarray):
        raise PromQLError("expected a scalar")
    return value


def _string(node: Node) -> str:
    if not isinstance(node, String):
        raise PromQLError("expected a string literal")
    return node.value


def _negate(node: Negate, context: Context) -> Value:
    value = evaluate(node.expr, context)
    if isinstance(value, np.ndarray):
        return -value
    if isinstance(value, str):
        raise PromQLError("a string cannot be negated")
    negated = Vector(value.frame, -value.values, value.present)
    return context.without_names(node.slot, negated)


def _binary(node: Binary, context: Context) -> Value:
    """Evaluate a chain of operators without a level of recursion for each."""
    chain = [node]
    while isinstance(node.lhs, Binary):
        node = node.lhs
        chain.append(node)
    value = evaluate(node.lhs, context)
    for link in reversed(chain):
        context.budget.check()
        value = _combine(link, value, evaluate(link.rhs, context), context)
    return value


def _combine(node: Binary, lhs: Value, rhs: Value, context: Context) -> Value:
    if isinstance(lhs, Vector) and isinstance(rhs, Vector):
        if node.op in SET_OPERATORS:
            return binary.set_operation(node, lhs, rhs, context)
        return binary.vectors(node, lhs, rhs, context)
    if isinstance(lhs, np.ndarray) and isinstance(rhs, np.ndarray):
        return binary.scalars(node.op, lhs, rhs)
    if isinstance(lhs, Vector) and isinstance(rhs, np.ndarray):
        return binary.vector_and_scalar(node, lhs, rhs, context, swapped=False)
    if isinstance(lhs, np.ndarray) and isinstance(rhs, Vector):
        return binary.vector_and_scalar(node, rhs, lhs, context, swapped=True)
    raise PromQLError(f"a string cannot be an operand of {node.op}")


def _call(node: Call, context: Context) -> Value:
    name = node.function
    if name in range_functions.FUNCTIONS:
        return _range_function(node, context)
    if name in functions.ELEMENTWISE:
        vector = _vector(node.args[0], context)
        params = [_scalar(arg, context) for arg in node.args[1:]]
        values = functions.ELEMENTWISE[name](vector.values, *params)
        present = vector.present
        if name == "clamp":
            present = present & (params[0] <= params[1])
        return context.without_names(node.slot, Vector(vector.frame, values, present))
    if name in functions.CALENDAR:
        moments = (
            _vector(node.args[0], context)
            if node.args
            else functions.from_scalar(context.times_ms / 1000)
        )
        values = functions.CALENDAR[name](moments.values)
        return context.without_names(node.slot, Vector(moments.frame, values, moments.present))
    return _OTHERS[name](node, context)


def _time(_: Call, context: Context) -> Floats:
    return context.times_ms / 1000


def _pi(_: Call, context: Context) -> Floats:
    return np.full(context.steps, np.pi)


def _start(_: Call, context: Context) -> Floats:
    return np.full(context.steps, context.start_ms / 1000)


def _end(_: Call, context: Context) -> Floats:
    return np.full(context.steps, context.end_ms / 1000)


def _range(_: Call, context: Context) -> Floats:
    return np.full(context.steps, (context.end_ms - context.start_ms) / 1000)


def _step(_: Call, context: Context) -> Floats:
    return np.full(context.steps, context.step_ms / 1000)


def _min_of(node: Call, context: Context) -> Floats:
    return np.minimum(*(_scalar(arg, context) for arg in node.args))


def _max_of(node: Call, context: Context) -> Floats:
    return np.maximum(*(_scalar(arg, context) for arg in node.args))


def _as_scalar(node: Call, context: Context) -> Floats:
    return functions.scalar(_vector(node.args[0], context))


def _as_vector(node: Call, context: Context) -> Vector:
    return functions.from_scalar(_scalar(node.args[0], context))


def _sort(node: Call, context: Context) -> Vector:
    vector = _vector(node.args[0], context)
    if context.steps > 1:
        context.notes.sort_over_range(node.pos)
    return functions.sort(vector, descending=node.function == "sort_desc")


def _sort_by_label(node: Call, context: Context) -> Vector:
    vector = _vector(node.args[0], context)
    if context.steps > 1:
        context.notes.sort_over_range(node.pos)
    names = [_string(arg) for arg in node.args[1:]]
    return functions.sort_by_label(vector, names, descending=node.function.endswith("_desc"))


def _histogram_quantile(node: Call, context: Context) -> Vector:
    wanted, buckets = _scalar(node.args[0], context), _vector(node.args[1], context)
    context.notes.invalid_quantiles(wanted, node.args[0].pos)
    return histogram.quantile(node.slot, wanted, buckets, context, node.args[1].pos)


def _histogram_fraction(node: Call, context: Context) -> Vector:
    lower, upper = (_scalar(arg, context) for arg in node.args[:2])
    buckets = _vector(node.args[2], context)
    return histogram.fraction(node.slot, lower, upper, buckets, context, node.args[2].pos)


def _of_native_histograms(node: Call, context: Context) -> Vector:
    """No sample here is a native histogram, and floats are left out by these functions."""
    vector = _vector(node.args[0], context)
    return Vector(vector.frame, vector.values, np.zeros_like(vector.present))


def _absent(node: Call, context: Context) -> Vector:
    selected = node.args[0]
    matchers = selected.matchers if isinstance(selected, Selector) else ()
    return functions.absent(matchers, _vector(selected, context).present)


def _timestamp(node: Call, context: Context) -> Vector:
    """The time of the sample a selector took; of any other vector, the time of evaluation."""
    selected = node.args[0]
    if isinstance(selected, Selector):
        vector, sampled_ms = instant_vector(selected, context)
        seconds = sampled_ms / 1000
    else:
        vector = _vector(selected, context)
        seconds = np.broadcast_to(context.times_ms / 1000, vector.values.shape)
    return context.without_names(node.slot, Vector(vector.frame, seconds, vector.present))


def _absent_over_time(node: Call, context: Context) -> Vector:
    selected = node.args[0]
    cut = windows(selected, context)
    present = np.zeros((1, len(cut.ends_ms)), dtype=np.bool_)
    for window in cut:
        present[0, window.steps] |= (window.count > 0).any(axis=1)
    if len(cut.ends_ms) != context.steps:
        present = np.broadcast_to(present, (1, context.steps))
    matchers = selected.selector.matchers if isinstance(selected, RangeSelector) else ()
    return functions.absent(matchers, present)


def _relabel(node: Call, context: Context) -> Vector:
    vector = _vector(node.args[0], context)
    texts = tuple(_string(arg) for arg in node.args[1:])

    def relabelled() -> Frame:
        if node.function == "label_replace":
            return label_functions.replace(vector.frame, *texts)
        return label_functions.join(vector.frame, texts[0], texts[1], texts[2:])

    frame = context.memo.recall((node.slot, "labels"), (vector.frame,), relabelled)
    return merge_equal_labels(Vector(frame, vector.values, vector.present))


def _range_function(node: Call, context: Context) -> Vector:
    name = node.function
    # The only scalar before a range vector is that of quantile_over_time.
    position = 1 if name == "quantile_over_time" else 0
    params = [_scalar(arg, context) for at, arg in enumerate(node.args) if at != position]
    if name == "predict_linear":
        params.insert(0, context.times_ms.astype(np.float64))
    cut = windows(node.args[position], context)
    if params and len(cut.ends_ms) != context.steps:
        # The windows are pinned to one time, but what is asked of them varies.
        cut = Windows(cut.frame, cut.blocks, cut.ends_ms.repeat(context.steps), cut.range_ms)
    shape = (len(cut.ends_ms), len(cut.frame))
    context.budget.hold(shape[0] * shape[1])
    values = np.zeros(shape)
    present = np.zeros(shape, dtype=np.bool_)
    function = range_functions.FUNCTIONS[name]
    for window in cut:
        context.budget.check()
        found = function(window, *(param[window.steps] for param in params))
        values[window.steps, window.positions], present[window.steps, window.positions] = found
    if name in ("rate", "increase"):
        _note_gauges(node, cut.frame, present, context)
    if name == "quantile_over_time":
        asked = params[0][present.any(axis=1)]
        context.notes.invalid_quantiles(asked, node.args[0].pos)
    if len(values) != context.steps:
        full = (context.steps, len(cut.frame))
        values, present = np.broadcast_to(values, full), np.broadcast_to(present, full)
    vector = Vector(cut.frame, values.T, present.T)
    if name in range_functions.KEEP_NAMES:
        return vector
    return context.without_names(node.slot, vector)


class _Suspects(dict[str, list[int]]):
    """The rows of metrics that are not named as counters; unlike a dict it can be shared."""


def _note_gauges(node: Call, frame: Frame, present: Bools, context: Context) -> None:
    """Note the metrics that have a result here and are not named as counters."""

    def suspects() -> _Suspects:
        found = _Suspects()
        for row, labels in enumerate(frame.labels):
            if not is_named_as_counter(labels.metric_name):
                found.setdefault(labels.metric_name, []).append(row)
        return found

    remembered = context.memo.share(node.slot, "suspects", frame, suspects)
    for metric, rows in remembered.items():
        if present[:, rows].any():
            context.notes.no_counter(metric, node.args[0].pos)


_OTHERS: Final[Mapping[str, Callable[[Call, Context], Value]]] = MappingProxyType(
    {
        "absent": _absent,
        "absent_over_time": _absent_over_time,
        "end": _end,
        "histogram_avg": _of_native_histograms,
        "histogram_count": _of_native_histograms,
        "histogram_fraction": _histogram_fraction,
        "histogram_quantile": _histogram_quantile,
        "histogram_stddev": _of_native_histograms,
        "histogram_stdvar": _of_native_histograms,
        "histogram_sum": _of_native_histograms,
        "label_join": _relabel,
        "label_replace": _relabel,
        "max_of": _max_of,
        "min_of": _min_of,
        "pi": _pi,
        "range": _range,
        "scalar": _as_scalar,
        "sort": _sort,
        "sort_by_label": _sort_by_label,
        "sort_by_label_desc": _sort_by_label,
        "sort_desc": _sort,
        "start": _start,
        "step": _step,
        "time": _time,
        "timestamp": _timestamp,
        "vector": _as_vector,
    }
)

FUNCTIONS: Final = frozenset(
    name for name, signature in signatures.FUNCTIONS.items() if not signature.experimental
)
"""Names of the functions that need no feature to be enabled."""
