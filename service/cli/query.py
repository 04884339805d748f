"""``gatewatch query``: PromQL answered by a running gatewatch, or by any Prometheus."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode, urlsplit

import typer

from service.cli import options
from service.cli.output import write_error, write_json, write_line
from service.errors import GatewatchError

if TYPE_CHECKING:
    from service.config.settings import OperationsSettings, Settings

_TIMEOUT_S: Final = 130.0
"""A little longer than the server gives a query, so that it is the server that explains."""
_MAX_BYTES: Final = 256 * 1024 * 1024
_ANYWHERE: Final[Mapping[str, str]] = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a listener on every address is reached by

Row = tuple[str, ...]


class QueryError(GatewatchError):
    """A query that was not answered with data; says why and what to do.

    Attributes:
        kind: The ``errorType`` of Prometheus's API.
    """

    def __init__(self, message: str, kind: str = "unavailable") -> None:
        self.kind = kind
        super().__init__(message)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise typer.BadParameter(f"{text!r} is no address such as http://127.0.0.1:8001")
    return text.rstrip("/")


def _time(text: str) -> str:
    from alerts.api.parameters import parse_time

    try:
        parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write 2024-01-31T12:00:00Z or Unix seconds") from error
    return text


def query(
    expression: Annotated[str, typer.Argument(metavar="EXPR", hidden=True)],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The operations listener. Unset: where the configuration puts it.",
            parser=_url,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When to evaluate. Unset: now.", parser=_time),
    ] = None,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Evaluate PromQL in a running gatewatch, at one time.

    On a terminal a table; in a pipe a line for each series, its value after a tab (a range
    selector: each sample, with its time after another tab); for a scalar the number alone. The
    credentials of operations.auth are sent along, also to another URL.
    """
    loaded = options.load(config, settings)
    try:
        base = url or _configured_url(loaded.settings.operations)
        body = asyncio.run(_ask(loaded.settings, base, expression, time))
    except QueryError as error:
        if as_json:
            write_json({"status": "error", "errorType": error.kind, "error": str(error)})
        raise
    for warning in (*body.get("warnings", ()), *body.get("infos", ())):
        write_error("warning", warning)
    if as_json:
        write_json(body)
        return
    kind, rows = _rows(body["data"])
    if kind in ("scalar", "string") or not sys.stdout.isatty():
        for row in rows:
            write_line("\t".join(row))
    elif rows:
        _write_table(kind, rows)
    else:
        write_line("no series")


def _configured_url(operations: OperationsSettings) -> str:
    if operations.port == 0:
        raise QueryError("operations.port is 0, so the port is not known here; give it with --url")
    host = _ANYWHERE.get(operations.host, operations.host)
    return (
        f"http://[{host}]:{operations.port}" if ":" in host else f"http://{host}:{operations.port}"
    )


async def _ask(settings: Settings, base: str, expression: str, time: str | None) -> dict[str, Any]:
    """Return the body of a success.

    Raises:
        QueryError: There was none.
    """
    from opentelemetry.trace import NoOpTracerProvider

    from alerts.clock import SystemClock
    from service.pools.errors import HTTPRequestError
    from service.pools.http import HTTPConnectionPool
    from service.telemetry.instruments import Instruments

    form = {"query": expression} | ({} if time is None else {"time": time})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if not urlsplit(base).username:
        headers |= _credentials(settings.operations)
    async with HTTPConnectionPool(
        settings.pools.http,
        instruments=Instruments.disabled(),
        tracer_provider=NoOpTracerProvider(),
        clock=SystemClock(),
    ) as pool:
        try:
            async with pool.request(
                "POST",
                f"{base}/api/v1/query",
                headers=headers,
                data=urlencode(form),
                timeout_s=_TIMEOUT_S,
                allow_redirects=False,
            ) as response:
                status, data = response.status, await response.read(max_bytes=_MAX_BYTES)
        except HTTPRequestError as error:
            raise QueryError(
                f"{error.url}: {error.detail}; is gatewatch running? "
                "Where its operations listener is, --url says"
            ) from error
    return _success(status, data, base)


def _credentials(operations: OperationsSettings) -> dict[str, str]:
    auth = operations.auth
    if auth.bearer_token is not None:
        return {"Authorization": f"Bearer {auth.bearer_token.get_secret_value()}"}
    if auth.password is not None:
        both = f"{auth.username}:{auth.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
    return {}


def _success(status: int, data: bytes, base: str) -> dict[str, Any]:
    from service.codec import JSONError, decode

    where = urlsplit(base)._replace(netloc=urlsplit(base).netloc.rpartition("@")[2]).geturl()
    if status == 401:
        raise QueryError(
            f"{where} wants other credentials; set operations.auth as the running gatewatch has it"
        )
    try:
        body = decode(data)
    except JSONError:
        body = None
    match body:
        case {"status": "success", "data": {"resultType": str(), "result": list()}}:
            success: dict[str, Any] = body
            return success
        case {"status": "error", "errorType": str(kind), "error": str(reason)}:
            raise QueryError(reason, kind)
        case _:
            raise QueryError(
                f"{where} answered with status {status} and no result; "
                "is it gatewatch's operations listener?"
            )


def _rows(data: Mapping[str, Any]) -> tuple[str, list[Row]]:
    """Return the type of a result and its rows: series, value and, in a matrix, time."""
    from alerts.series.labels import Labels

    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return kind, [(result[1],)]
    rows: list[Row] = []
    for item in result:
        name = repr(Labels(item["metric"]))
        if kind == "vector":
            rows.append((name, item["value"][1]))
        else:
            rows += [(name, value, f"{time:.3f}") for time, value in item["values"]]
    return kind, rows


def _write_table(kind: str, rows: Iterable[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("series", box=None, pad_edge=False)
    table.add_column("value", justify="right")
    if kind == "matrix":
        table.add_column("time")
    for name, value, *times in rows:
        table.add_row(*(Text(cell) for cell in (name, value, *map(_readable_time, times))))
    Console().print(table)


def _readable_time(text: str) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(float(text), UTC).isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):  # a year past 9999
        return text
