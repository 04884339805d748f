"""`gatewatch query`, as a process, against an operations listener of this one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from alerts.api.pool import QueryPool
from alerts.api.prometheus import PrometheusParts, ServerInfo, prometheus_routes
from alerts.clock import SystemClock
from alerts.promql.engine import Engine
from alerts.series.labels import Labels
from alerts.series.store import SeriesStore
from service.config.settings import OperationsAuth
from service.listener import Listener
from service.operations import OperationsParts, create_operations_app
from service.scheduler import Scheduler
from service.telemetry.instruments import Instruments
from tests.support.process import Ended, clean_environ, run_command, unused_port

T = 1_700_000_000
LINES = 'up{instance="a:1", job="db"}\t1\nup{instance="b:1", job="web"}\t0\n'


@asynccontextmanager
async def operations(
    auth: OperationsAuth | None = None, routes: Sequence[web.RouteDef] | None = None
) -> AsyncIterator[Listener]:
    """Run an operations listener over two series of one moment."""
    clock = SystemClock()
    store = SeriesStore(clock=clock, retention_s=1e9)
    for instance, job, value in (("a:1", "db", 1.0), ("b:1", "web", 0.0)):
        labels = Labels({"__name__": "up", "instance": instance, "job": job})
        store.source(job).append(T * 1000, [(labels, value)])
    scheduler = Scheduler(clock=clock, instruments=Instruments.disabled())
    async with QueryPool(clock=clock) as pool:
        parts = PrometheusParts(
            engine=Engine(store),
            store=store,
            find_rules=lambda: None,
            metadata=lambda: (),
            pool=pool,
            clock=clock,
            info=ServerInfo("tests", "1", T, 1e9, {}),
        )
        app = create_operations_app(
            OperationsParts(scheduler, lambda: (), no_metrics, clock),
            auth=auth or OperationsAuth(),
            routes=prometheus_routes(parts) if routes is None else routes,
        )
        async with Listener("t", app, host="127.0.0.1", port=0, setting="t") as listener:
            yield listener


async def no_metrics(_accept: str) -> tuple[str, bytes]:
    """Render nothing."""
    return "text/plain", b""


async def query(
    listener: Listener, *arguments: str, directory: Path, environ: Mapping[str, str] | None = None
) -> Ended:
    """Run the command against a listener."""
    return await run_command(
        "query", *arguments, "--url", listener.url, directory=directory, environ=environ
    )


async def test_a_line_for_each_series(tmp_path: Path):
    """In a pipe each series is a line with its value."""
    async with operations() as listener:
        done = await query(listener, "up", "--time", str(T), directory=tmp_path)

    assert (done.code, done.out, done.err) == (0, LINES, "")


@pytest.mark.parametrize(
    ("expression", "out"),
    [
        ("1 + 1", "2\n"),
        ('"text"', "text\n"),
        ("nothing", ""),
        ('up{job="db"}[1m]', f'up{{instance="a:1", job="db"}}\t1\t{T}.000\n'),
        ("sum(up)", "{}\t1\n"),
    ],
)
async def test_other_results(tmp_path: Path, expression: str, out: str):
    """A number or text is printed alone, a sample of a range with its time."""
    async with operations() as listener:
        done = await query(
            listener, expression, "--time", "2023-11-14T22:13:20Z", directory=tmp_path
        )

    assert (done.code, done.out) == (0, out)


async def test_json(tmp_path: Path):
    """With --json the answer is printed as the server gave it."""
    async with operations() as listener:
        done = await query(listener, "1", "--time", str(T), "--json", directory=tmp_path)

    data = {"resultType": "scalar", "result": [T, "1"]}
    assert json.loads(done.out) == {"status": "success", "data": data}


async def test_a_table_on_a_terminal(tmp_path: Path):
    """On a terminal the result is a table."""
    ours, theirs = os.openpty()
    async with operations() as listener:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service.cli", "query", "up[1m]"),
            *("--time", str(T), "--url", listener.url),
            cwd=tmp_path,
            env=clean_environ({"TERM": "dumb", "COLUMNS": "100"}),
            stdout=theirs,
        )
        code = await process.wait()
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    os.close(ours)

    head, *rows = text.split("\r\n")
    assert code == 0
    assert head.split() == ["series", "value", "time"]
    assert rows[0].split() == [
        *('up{instance="a:1",', 'job="db"}', "1"),
        *("2023-11-14", "22:13:20.000+00:00"),
    ]


async def test_a_bad_expression(tmp_path: Path):
    """The server's reason is printed, and the exit code says that the query failed."""
    async with operations() as listener:
        done = await query(listener, "sum(", directory=tmp_path)

    assert (done.code, done.out) == (1, "")
    assert 'invalid parameter "query"' in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("auth", "setting"),
    [
        ({"bearer_token": "t0ken"}, ["operations.auth.bearer_token=t0ken"]),
        (
            {"username": "ops", "password": "p\u00e4ss"},
            ["operations.auth.username=ops", "operations.auth.password=p\u00e4ss"],
        ),
    ],
    ids=["bearer", "basic"],
)
async def test_credentials(tmp_path: Path, auth: dict[str, str], setting: list[str]):
    """The configured credentials open the listener; without them it says what to set."""
    options = [option for each in setting for option in ("--set", each)]
    async with operations(OperationsAuth.model_validate(auth)) as listener:
        let_in = await query(listener, "1", *options, directory=tmp_path)
        kept_out = await query(listener, "1", directory=tmp_path)

    assert (let_in.code, let_in.out) == (0, "1\n")
    assert kept_out.code == 1
    assert "operations.auth" in kept_out.err


async def test_credentials_in_the_url(tmp_path: Path):
    """A user and password in the URL go before the configuration, and into no message."""
    auth = OperationsAuth.model_validate({"username": "ops", "password": "right"})
    async with operations(auth) as listener:
        places = [f"http://ops:{word}@127.0.0.1:{listener.port}" for word in ("right", "wr0ng")]
        let_in, kept_out = [
            await run_command("query", "1", "--url", place, directory=tmp_path) for place in places
        ]

    assert let_in.out == "1\n"
    assert kept_out.code == 1
    assert "wr0ng" not in kept_out.err


async def test_the_configured_listener_is_the_default(tmp_path: Path):
    """Without --url the operations listener of the configuration is asked."""
    async with operations() as listener:
        done = await run_command(
            "query", "2", "--set", f"operations.port={listener.port}", directory=tmp_path
        )

    assert (done.code, done.out) == (0, "2\n")


async def test_nobody_listens(tmp_path: Path):
    """Where nobody listens the command says what to do."""
    done = await run_command(
        "query", "1", "--url", f"http://127.0.0.1:{unused_port()}", directory=tmp_path
    )

    assert done.code == 1
    assert "is gatewatch running?" in done.err
    assert "--url" in done.err
    assert "Traceback" not in done.err


async def test_errors_for_machines(tmp_path: Path):
    """With --json an error is data of the API's form as well, whoever found it."""
    async with operations() as listener:
        refused = await query(listener, "1 +", "--json", directory=tmp_path)
    url = f"http://127.0.0.1:{unused_port()}"
    unanswered = await run_command("query", "1", "--url", url, "--json", directory=tmp_path)

    assert (refused.code, unanswered.code) == (1, 1)
    body = json.loads(refused.out)
    assert (body["status"], body["errorType"]) == ("error", "bad_data")
    assert refused.err == f"gatewatch: {body['error']}\n"
    assert json.loads(unanswered.out)["errorType"] == "unavailable"


async def test_somebody_else_listens(tmp_path: Path):
    """An answer that is none of this API is said to be so."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with operations(routes=[web.post("/api/v1/query", hello)]) as listener:
        done = await query(listener, "1", directory=tmp_path)

    assert done.code == 1
    assert "is it gatewatch's operations listener?" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument"),
        (["1", "--url", "localhost:8001"], "is no address"),
        (["1", "--url", "http://[::1"], "is no address"),
        (["1", "--time", "now"], "to a valid timestamp"),
        (["1", "--set", "operations.prot=1"], "operations.prot"),
    ],
)
async def test_usage(tmp_path: Path, arguments: list[str], said: str):
    """A command line that cannot be used is exit code 2."""
    done = await run_command("query", *arguments, directory=tmp_path)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


async def test_a_port_that_is_not_known(tmp_path: Path):
    """A configuration that leaves the port open cannot say where to ask."""
    done = await run_command("query", "1", "--set", "operations.port=0", directory=tmp_path)

    assert done.code == 1
    assert "--url" in done.err
