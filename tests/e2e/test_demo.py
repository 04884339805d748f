"""``gatewatch demo`` as a person runs it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.process import run_command

CHAPTERS = [
    "A gateway that watches itself",
    "Messages: a back end publishes to 25 subscribers",
    "One message as a trace: request, channel, batch, write",
    "Health: every connection is checked, every 60 s and now",
    "An alert's life: a check fails, a rule fires, a webhook arrives",
    "Done",
]
LINES = [
    r"published   \d+ messages, \d+/s",
    r"delivered   \d+ messages, \d+/s, 0 lost",
    r"batches     \d+ \(\d+\.\d messages each; sent by .*\)",
    r"frames      \d+ written instead of \d+: \d+\.\d messages in each",
    r"latency     \d+\.\d ms median, \d+\.\d ms at the 99th percentile",
    r"POST /api/publish  SERVER",
    r"publish \*  PRODUCER",
    r"deliver \*  INTERNAL",
    r"linked batch: send \*  CLIENT",
    r"gateway-connections  25 checked, 0 pinged, 0 dead and 0 idle closed",
    r"check       shop is down: status 500, expected 2xx",
    r"ShopDown is pending",
    r"ShopDown is firing",
    r"webhook     on-call was told: firing, ShopDown \(shop does not answer\)",
    r"check       shop is up: status 200",
    r"webhook     on-call was told: resolved, ShopDown \(shop does not answer\)",
]


async def test_the_demo_shows_it_all_and_ends(tmp_path: Path) -> None:
    """Chapters, numbers, a trace and both webhooks, in this order; nothing on stderr; code 0."""
    ended = await run_command("demo", directory=tmp_path, timeout_s=55)

    assert (ended.code, ended.err) == (0, "")
    assert [line for line in ended.out.splitlines() if line in CHAPTERS] == CHAPTERS
    position = 0
    for line in LINES:
        found = re.compile(line).search(ended.out, position)
        assert found, f"no {line!r} after:\n{ended.out[:position]}"
        position = found.end()
    assert "\x1b" not in ended.out
