"""promtool asking gatewatch as it asks a Prometheus."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.external.child import run
from tests.support.process import GatewatchProcess, eventually, serving

Ask = Callable[..., Awaitable[str]]
SERIES: Final = "gateway_connection_count"
"""A series that every process has, whatever happens in it."""


@pytest.fixture
def promtool(program: Callable[[str], Path]) -> Path:
    """Return where promtool is."""
    return program("prometheus") / "promtool"


@pytest.fixture
async def gatewatch(promtool: Path, tmp_path: Path) -> AsyncIterator[GatewatchProcess]:
    """Run a process until it has series to ask for."""
    async with serving(tmp_path) as process:

        async def collected() -> bool:
            body = json.loads(await process.operations(f"/api/v1/query?query={SERIES}"))
            return bool(body["data"]["result"])

        await eventually(collected, what="the first collection")
        yield process


@pytest.fixture
def ask(promtool: Path, tmp_path: Path, gatewatch: GatewatchProcess) -> Ask:
    """Run a query of promtool against the process and return what it printed."""

    async def query(kind: str, *arguments: str, expected: int = 0) -> str:
        place = gatewatch.operations_url
        code, said = await run(promtool, "query", kind, place, *arguments, folder=tmp_path)
        assert code == expected, said
        return said

    return query


async def test_an_instant_query(ask: Ask):
    """A sample is printed with its labels, value and time."""
    assert (await ask("instant", "1+1")).startswith("scalar: 2 @[")
    said = await ask("instant", SERIES)
    assert said.startswith(SERIES)
    assert 'instance="under-test"' in said
    assert " => 0 @[" in said


async def test_a_range_query(ask: Ask):
    """A query over a range prints each series with its values."""
    said = await ask("range", "--step=1s", f"sum({SERIES})")

    assert "{} =>" in said
    assert "0 @[" in said


async def test_the_series(ask: Ask):
    """Series are found by matchers."""
    said = await ask("series", f"--match={SERIES}")

    (line,) = said.splitlines()
    assert line.startswith(f'{{__name__="{SERIES}", ')


async def test_the_values_of_a_label(ask: Ask):
    """The names of all metrics are the values of the label that holds them."""
    said = await ask("labels", "__name__")

    assert SERIES in said.split()
    assert said.split() == sorted(said.split())


async def test_an_error(ask: Ask):
    """promtool understands why a query was refused."""
    assert "bad_data" in await ask("instant", "sum(", expected=1)


async def test_json_as_promtool_prints_it(ask: Ask):
    """Numbers of any size, and those that are none, arrive as they were sent."""
    for expression, value in (("1e21", 1e21), ("5e-324", 5e-324), ("-1/0", -math.inf)):
        said: Any = json.loads(await ask("instant", "--format=json", f"vector({expression})"))

        assert [float(sample["value"][1]) for sample in said] == [value]
