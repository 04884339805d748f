"""Scripts in the format of Prometheus's ``promqltest``: text to commands.

Source: promql/promqltest/README.md and test.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from alerts.durations import parse_duration
from alerts.errors import DurationError
from alerts.promql.notation import NotationError, SequenceValue, parse_series
from alerts.promql.tokens import tokenize
from alerts.series.labels import Labels


class ScriptError(Exception):
    """A script that cannot be read, with the line where."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget all series."""

    line: int


@dataclass(frozen=True, slots=True)
class Load:
    """Add series, a value every ``step_ms`` from time 0.

    Attributes:
        line: Where the command stands.
        step_ms: The distance of the values.
        series: Labels and values.
        started: Series whose samples have start timestamps.
        converts: Whether classic histograms are also loaded as native ones.
    """

    line: int
    step_ms: int
    series: tuple[tuple[Labels, list[SequenceValue]], ...]
    started: frozenset[Labels]
    converts: bool


@dataclass(frozen=True, slots=True)
class Note:
    """What an error, warning or info must be: a text, a pattern, or anything."""

    text: str | None = None
    pattern: str | None = None

    def matches(self, message: str) -> bool:
        """Tell whether a message is the expected one."""
        if self.pattern is not None:
            return re.search(self.pattern, message) is not None
        return self.text is None or self.text == message


@dataclass(slots=True)
class Eval:
    """Evaluate an expression and compare; ``step_ms`` is None for an instant query.

    Attributes:
        line: Where the command stands.
        expression: PromQL.
        start_ms: The time, or the first one.
        end_ms: The last time.
        step_ms: The distance of the times.
        fail: What the error must be, when one is expected.
        warnings: What the warnings must be; None when none is allowed; empty for any or none.
        infos: The same for infos.
        ordered: Whether the order of the results matters.
        text: The expected string.
        scalar: The expected scalar.
        points: Start and step of an expected range vector.
        series: The expected series.
    """

    line: int
    expression: str
    start_ms: int
    end_ms: int
    step_ms: int | None
    fail: Note | None = None
    warnings: list[Note] | None = field(default_factory=list)
    infos: list[Note] | None = field(default_factory=list)
    ordered: bool = False
    text: str | None = None
    scalar: float | None = None
    points: tuple[int, int] | None = None
    series: list[tuple[Labels, list[SequenceValue]]] = field(default_factory=list)


Command = Clear | Load | Eval
_Block = list[tuple[int, str]]

_LOAD = re.compile(r"load(?P<converts>_with_nhcb)?\s+(?P<step>\S+)", re.IGNORECASE)
_INSTANT = re.compile(
    r"eval(?:_(?P<kind>fail|warn|ordered|info))?\s+instant\s+(?:at\s+(?P<at>\S+)\s+)?(?P<expr>.+)",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"eval(?:_(?P<kind>fail|warn|info))?\s+range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+"
    r"step\s+(?P<step>\S+)\s+(?P<expr>.+)",
    re.IGNORECASE,
)
_EXPECT = re.compile(
    r"expect\s+(?P<what>ordered|fail|warn|no_warn|info|no_info)"
    r"(?:\s+(?P<how>msg|regex):(?P<text>.+))?",
    re.IGNORECASE,
)
_STRING = re.compile(r"expect\s+string\s+(?P<text>.+)", re.IGNORECASE)
_POINTS = re.compile(
    r"expect\s+range\s+vector\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+)",
    re.IGNORECASE,
)
_FAILURE = re.compile(r"expected_fail_(?P<how>message|regexp)\s+(?P<text>.+)", re.IGNORECASE)
_HISTOGRAM = re.compile(r"\{\{[^{}]*\}\}(?:[-+]\{\{[^{}]*\}\})?(?:x[0-9]+)?")
_STARTED = re.compile(r"(?P<metric>\S*?)@st(?:\s|$)")


def read_script(text: str) -> list[Command]:
    """Return the commands of a script.

    Raises:
        ScriptError: It is no script.
    """
    commands: list[Command] = []
    for block in _blocks(text):
        line, head = block[0]
        word = head.split()[0].lower()
        if word == "clear":
            commands.append(Clear(line))
        elif word.startswith("load"):
            commands.append(_load(block))
        elif word.startswith("eval"):
            commands.append(_eval(block))
        else:
            raise ScriptError(line, f"no command: {head}")
    return commands


def _blocks(text: str) -> Iterator[_Block]:
    """Yield runs of lines; a blank line or a comment ends one."""
    block: _Block = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            if block:
                yield block
            block = []
        elif line.lower() == "clear":
            if block:
                yield block
            yield [(number, line)]
            block = []
        else:
            block.append((number, line))
    if block:
        yield block


def _load(block: _Block) -> Load:
    line, head = block[0]
    found = _LOAD.fullmatch(head)
    if found is None:
        raise ScriptError(line, f"no load: {head}")
    series: list[tuple[Labels, list[SequenceValue]]] = []
    started: set[Labels] = set()
    for number, text in block[1:]:
        start = _STARTED.match(text)
        if start is None:
            series.append(_series(number, text))
        else:
            started.add(_series(number, start["metric"])[0])
    return Load(
        line, _ms(line, found["step"]), tuple(series), frozenset(started), bool(found["converts"])
    )


def _series(line: int, text: str) -> tuple[Labels, list[SequenceValue]]:
    try:
        return parse_series(text)
    except NotationError as error:
        if "{{" not in text:
            raise ScriptError(line, str(error)) from error
    # All that matters about a native histogram here is that it is one.
    return parse_series(_HISTOGRAM.sub("{{schema:0}}", text))


def _eval(block: _Block) -> Eval:
    line, head = block[0]
    instant, over = _INSTANT.fullmatch(head), _RANGE.fullmatch(head)
    if instant is not None:
        at_ms = _ms(line, instant["at"] or "0")
        command = Eval(line, instant["expr"], at_ms, at_ms, None)
    elif over is not None:
        start_ms, end_ms, step_ms = (_ms(line, over[name]) for name in ("start", "end", "step"))
        command = Eval(line, over["expr"], start_ms, end_ms, step_ms)
    else:
        raise ScriptError(line, f"no eval: {head}")
    kind = (instant or over or {"kind": None})["kind"]
    if kind is not None:
        _expect(command, line, kind.lower(), Note())
    for number, text in block[1:]:
        _body(command, number, text)
    return command


def _body(command: Eval, line: int, text: str) -> None:
    """Take in one line below an eval."""
    if (found := _EXPECT.fullmatch(text)) is not None:
        wanted = (found["text"] or "").strip()
        is_pattern = (found["how"] or "").lower() == "regex"
        note = Note(pattern=wanted) if is_pattern else Note(text=wanted or None)
        _expect(command, line, found["what"].lower(), note)
    elif (found := _STRING.fullmatch(text)) is not None:
        command.text = tokenize(found["text"])[0].text
    elif (found := _POINTS.fullmatch(text)) is not None:
        command.points = (_ms(line, found["start"]), _ms(line, found["step"]))
    elif (found := _FAILURE.fullmatch(text)) is not None:
        is_pattern = found["how"].lower() == "regexp"
        command.fail = Note(pattern=found["text"]) if is_pattern else Note(text=found["text"])
    elif text.lower().startswith("expect"):
        raise ScriptError(line, f"no expectation: {text}")
    elif (number := _number(text)) is not None:
        command.scalar = number
    else:
        series = _series(line, text)
        if command.step_ms is None and command.points is None and len(series[1]) != 1:
            raise ScriptError(line, "a series has one value at one time")
        command.series.append(series)


def _expect(command: Eval, line: int, what: str, note: Note) -> None:
    if what == "ordered":
        command.ordered = True
    elif what == "fail":
        if command.fail is not None:
            raise ScriptError(line, "an evaluation fails once")
        command.fail = note
    elif what == "no_warn":
        _check_nothing(line, command.warnings)
        command.warnings = None
    elif what == "no_info":
        _check_nothing(line, command.infos)
        command.infos = None
    else:
        expected = command.warnings if what == "warn" else command.infos
        if expected is None:
            raise ScriptError(line, f"both {what} and no_{what} are expected")
        expected.append(note)


def _check_nothing(line: int, expected: list[Note] | None) -> None:
    if expected:
        raise ScriptError(line, "something and nothing is expected at once")


def _ms(line: int, text: str) -> int:
    number = _number(text)
    if number is None:
        raise ScriptError(line, f"no duration: {text}")
    return round(number * 1000)


def _number(text: str) -> float | None:
    """Return a number or a duration in seconds; None when the text is neither."""
    sign = -1.0 if text.startswith("-") else 1.0
    unsigned = text.lstrip("+-")
    try:
        return sign * parse_duration(unsigned)
    except DurationError:
        pass
    try:
        return sign * float(int(unsigned, 16) if unsigned.startswith("0x") else float(unsigned))
    except ValueError:
        return None
