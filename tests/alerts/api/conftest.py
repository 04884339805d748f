"""The API that most tests of this folder ask."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.alerts.api.serving import Server, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Serve the API over three series."""
    async with serving(tmp_path) as running:
        for at_s in (-120, -60, 0):
            running.append(
                at_s,
                {
                    "up;job=db;instance=a": 1,
                    "up;job=web;instance=b": 0,
                    "requests_total;job=web": 1000 + at_s / 2,
                },
            )
        yield running
