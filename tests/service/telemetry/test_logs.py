"""Log lines for machines and for people, joined to traces, and calm about dead collectors."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from alerts.clock import ManualClock
from service.telemetry.logs import LogFormat, LogSetup

Install = Callable[..., "Output"]


class Output(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def lines(self) -> list[dict[str, Any]]:
        """Return what was written as JSON."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still."""
    return ManualClock()


@pytest.fixture
def install(clock: ManualClock) -> Iterator[Install]:
    """Return what sets up logging to a stream; it is put back when the test ends."""
    setups: list[LogSetup] = []

    def install(
        log_format: LogFormat = "auto",
        *,
        terminal: bool = False,
        environment: dict[str, str] | None = None,
    ) -> Output:
        output = Output(terminal=terminal)
        setup = LogSetup(
            level="info",
            log_format=log_format,
            clock=clock,
            environment=environment or {},
            stream=output,
        )
        setups.append(setup.install())
        return output

    yield install
    for setup in reversed(setups):
        setup.restore()


def test_a_pipe_gets_json(install):
    """Each record is one JSON object with its fields as attributes."""
    output = install()

    logging.getLogger("gateway").warning("closed %d", 5, extra={"code": 3008, "why": {"a": 1}})

    (line,) = output.lines()
    assert line.pop("timestamp").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "gateway",
        "message": "closed 5",
        "attributes": {"code": 3008, "why": {"a": 1}},
    }


def test_a_line_carries_the_current_trace(install):
    """Inside a span the ids of trace and span are in the line."""
    output = install()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    with tracer.start_as_current_span("work") as span:
        logging.getLogger("gateway").info("inside")

    (line,) = output.lines()
    context = span.get_span_context()
    assert (line["trace_id"], line["span_id"]) == (
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
    )


def test_an_exception_stays_one_line(install):
    """The stack trace of an error is a field of its line."""
    output = install()

    try:
        dict[str, int]()["gone"]
    except KeyError:
        logging.getLogger("gateway").exception("failed")

    (line,) = output.lines()
    assert (line["exception"]["type"], line["exception"]["message"]) == ("KeyError", "'gone'")
    assert "test_an_exception_stays_one_line" in line["exception"]["stacktrace"]


def test_awkward_values_do_not_break_the_line(install):
    """Line breaks, lone surrogates and objects without a JSON form are still one line of JSON."""
    output = install()

    logging.getLogger("gateway").info("a\nb\ud800", extra={"thing": {1, 2}, "bad": "\udfff"})

    (line,) = output.lines()
    assert line["message"] == "a\nb?"
    assert line["attributes"] == {"thing": "{1, 2}", "bad": "?"}


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False)],
)
def test_people_get_readable_lines(install, terminal, environment, coloured):
    """The console format names level, logger, message and fields; colours on terminals only."""
    output = install("console", terminal=terminal, environment=environment)

    logging.getLogger("gateway").warning("closed", extra={"code": 3008})

    text = output.getvalue()
    for part in ("warning", "gateway", "closed", "code=3008"):
        assert part in text
    assert ("\x1b[" in text) is coloured


def test_a_terminal_gets_readable_lines_by_itself(install):
    """``auto`` is the console format on a terminal."""
    output = install(terminal=True)

    logging.getLogger("gateway").info("hello")

    assert not output.getvalue().startswith("{")


async def test_a_dead_collector_is_one_line_a_minute(install, clock):
    """An exporter's complaint comes once a minute in one line, with a count of the rest."""
    output = install()
    logger = logging.getLogger("opentelemetry.exporter.otlp")

    def complain() -> None:
        error = ConnectionError("refused")
        logger.error("Export failed.", exc_info=error)

    complain()
    complain()
    complain()
    await clock.advance(60)
    complain()

    first, second = output.lines()
    assert first["message"] == "Export failed. ConnectionError: refused"
    assert "exception" not in first
    assert second["message"].endswith("(2 similar lines were left out)")


def test_other_errors_are_never_held_back(install):
    """Only the exporters' own records are limited."""
    output = install()

    for _ in range(3):
        logging.getLogger("gateway").error("failed")

    assert len(output.lines()) == 3


def test_less_severe_records_are_left_out(install):
    """Records below the level are not written."""
    output = install()

    logging.getLogger("gateway").debug("detail")

    assert output.getvalue() == ""


def test_the_logging_before_is_put_back():
    """After restore the root logger has its handlers and level again."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    setup = LogSetup(
        level="debug", log_format="json", clock=ManualClock(), environment={}, stream=io.StringIO()
    )

    setup.install().install()
    during = (root.handlers[:], root.level)
    setup.restore()
    setup.restore()

    assert during != before
    assert (root.handlers[:], root.level) == before
