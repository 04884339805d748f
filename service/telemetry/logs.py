"""Set-up of the standard library's logging: JSON lines in a pipe, readable lines for people.

Every record carries the ids of the current span; fields given as ``extra`` become attributes. With
a collector the same records go there too, except those of the OpenTelemetry libraries themselves:
a failed export must not produce more to export.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TextIO

import orjson
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.trace import get_current_span

from alerts.clock import Clock
from service.telemetry.log_levels import Level, LogLevels
from service.telemetry.log_repeats import RepeatsHandler

LogFormat = Literal["auto", "json", "console"]

_RESERVED: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message")
)
_EXPORTER_LOGGERS: Final = (
    "opentelemetry",
    "service.telemetry.export",
    "service.telemetry.exports",
    "urllib3",
    "grpc",
)
_REPEAT_INTERVAL_S: Final = 60.0
_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


def record_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _RESERVED}


def current_trace() -> tuple[str, str]:
    """Return trace id and span id of the current span in hex, or two empty texts."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return "", ""
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


class JSONFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, trace, attributes, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; values that JSON does not have are written as their text."""
        line: dict[str, Any] = {
            "timestamp": _timestamp(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace_id, span_id = current_trace()
        if trace_id:
            line["trace_id"] = trace_id
            line["span_id"] = span_id
        if fields := record_fields(record):
            line["attributes"] = fields
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = {
                "type": record.exc_info[0].__qualname__,
                "message": str(record.exc_info[1]),
                "stacktrace": "".join(traceback.format_exception(*record.exc_info)),
            }
        if record.stack_info:
            line["stack"] = record.stack_info
        options = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
        return orjson.dumps(_printable(line), default=str, option=options).decode()


class ConsoleFormatter(logging.Formatter):
    """One aligned line per record: time, level, logger, message, then ``name=value`` fields."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the stack trace if there is one."""
        time = _timestamp(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        level = self._paint(f"{record.levelname.lower():<8}", _COLOURS.get(record.levelno, ""))
        fields = record_fields(record)
        trace_id, _ = current_trace()
        if trace_id:
            fields["trace_id"] = trace_id
        tail = " ".join(f"{name}={value}" for name, value in fields.items())
        line = f"{self._paint(time, _DIM)} {level} {record.name:<28} {record.getMessage()}"
        if tail:
            line = f"{line}  {self._paint(tail, _DIM)}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            line = f"{line}\n{record.stack_info}"
        return line

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


class OutputHandler(logging.StreamHandler[TextIO]):
    """Writes lines; of the exporters' complaints one per minute, in one line, counting the rest.

    A collector that is away makes its exporter complain several times per attempt, for ever.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter, clock: Clock) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._clock = clock
        self._seen: dict[tuple[str, int, str], _Repeats] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write records of other loggers as they are; complaints rarely and without stacks."""
        if not is_exporter_record(record):
            super().emit(record)
            return
        now = self._clock.monotonic()
        key = (record.name, record.levelno, record.funcName or "")
        repeats = self._seen.setdefault(key, _Repeats())
        if repeats.next_s is not None and now < repeats.next_s:
            repeats.suppressed += 1
            return
        super().emit(_one_line(record, repeats.suppressed))
        repeats.next_s = now + _REPEAT_INTERVAL_S
        repeats.suppressed = 0


@dataclass(slots=True)
class _Repeats:
    next_s: float | None = None
    suppressed: int = 0


def _one_line(record: logging.LogRecord, suppressed: int) -> logging.LogRecord:
    """Return a copy of the record without stack trace, naming the error and what was left out."""
    message = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        message = f"{message} {type(record.exc_info[1]).__qualname__}: {record.exc_info[1]}"
    if suppressed:
        message = f"{message} ({suppressed} similar lines were left out)"
    copy = logging.makeLogRecord(vars(record))
    copy.msg, copy.args, copy.exc_info, copy.exc_text = message, None, None, None
    return copy


def is_exporter_record(record: logging.LogRecord) -> bool:
    """Return whether a record comes from the machinery that exports telemetry."""
    return any(
        record.name == name or record.name.startswith(f"{name}.") for name in _EXPORTER_LOGGERS
    )


class LogSetup:
    """Takes over the root logger between ``install`` and ``restore``.

    Attributes:
        stream: Where lines are written.
        levels: How much is logged.
        stats: Counts of records.
    """

    def __init__(
        self,
        *,
        level: Level,
        log_format: LogFormat,
        clock: Clock,
        environment: Mapping[str, str],
        provider: LoggerProvider | None = None,
        stream: TextIO | None = None,
        repeats: int = 0,
    ) -> None:
        """Prepare the handlers; nothing changes until ``install``.

        Args:
            level: Least severe level, such as ``info``.
            log_format: ``auto`` is readable on a terminal and JSON elsewhere.
            clock: Paces the exporters' complaints.
            environment: ``NO_COLOR`` switches colours off.
            provider: Where records are sent besides; None: nowhere.
            stream: Where lines are written; None: standard error.
            repeats: Lines of a kind in ten seconds; 0: as many as come.
        """
        self.stream = stream if stream is not None else sys.stderr
        self.levels = LogLevels(level, clock)
        terminal = self.stream.isatty()
        formatter: logging.Formatter = JSONFormatter()
        if log_format == "console" or (log_format == "auto" and terminal):
            formatter = ConsoleFormatter(colour=terminal and not environment.get("NO_COLOR"))
        handlers: list[logging.Handler] = [OutputHandler(self.stream, formatter, clock)]
        if provider is not None:
            exporting = LoggingHandler(logger_provider=provider)
            exporting.addFilter(lambda record: not is_exporter_record(record))
            handlers.append(exporting)
        self._handler = RepeatsHandler(handlers, clock, limit=repeats)
        self.stats = self._handler.stats
        self._before: list[logging.Handler] | None = None

    def install(self) -> Self:
        """Replace the root logger's handlers and level; does nothing the second time."""
        if self._before is None:
            root = logging.getLogger()
            self._before = root.handlers[:]
            root.handlers[:] = [self._handler]
            self.levels.install()
        return self

    def restore(self) -> None:
        """Put back what ``install`` replaced; does nothing before it."""
        if self._before is not None:
            self._handler.tell_all()
            logging.getLogger().handlers[:] = self._before
            self._before = None
            self.levels.restore()


def _timestamp(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _printable(value: Any) -> Any:
    """Return a value with the lone surrogates of its texts replaced: JSON cannot carry them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value
