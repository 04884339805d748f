"""promtool asking gatewatch as it asks a Prometheus."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.external.child import run
from tests.support.process import GatewatchProcess, eventually, serving

Ask = Callable[..., "AsyncAnswer"]
SERIES: Final = "gateway_connection_count"
"""A series that every process has, whatever happens in it."""


class AsyncAnswer:
    """Runs promtool when awaited."""
