"""When the checks of the process itself fail: the section ``health.own``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AnyHttpUrl, Field

from service.config.section import Section
from service.config.types import PositiveDuration, Size

Share = Annotated[float, Field(gt=0, le=1, strict=True)]
"""A part of a whole."""


class OwnCheckSettings(Section):
    """When the built-in checks of the process itself fail."""

    max_event_loop_lag: PositiveDuration = 0.5
    """How late a timer of the event loop may run before gateway-event-loop fails."""
    min_disk_free: Size = 256 * 1024 * 1024
    """Room the disk of the data directory must have left for gateway-disk."""
    max_open_files: Share = 0.9
    """Share of the limit of open files that may be in use for gateway-files."""
    max_export_silence: PositiveDuration = 300.0
    """How long the collector may accept nothing while something waits for it, for
    gateway-export."""
    http_pool_hosts: tuple[AnyHttpUrl, ...] = ()
    """URLs that http-pool requests with HEAD at each run, over the pool's connections; it fails
    when one of them gives no answer. Any status is one."""
