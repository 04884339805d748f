"""gatewatch's rules as a process of their own: series store, engine, rules, alerts kept on disk.

Run by ``benchmarks/rules.py``, beside a Prometheus that does the same. Scrapes a target, reads
paths of rule files from standard input and evaluates the newest one at its slots, each replacing
the one before. Prints a line of JSON for each pass, and ends when standard input does. Nobody is
notified: Prometheus has no Alertmanager either.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from alerts.clock import SystemClock
from alerts.model import Alert
from alerts.promql.engine import Engine
from alerts.rules.alerting import AlertingRule
from alerts.rules.file import load_rules
from alerts.rules.group import GroupContext, RuleGroup
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.store import SeriesStore
from alerts.storage.alert_states import AlertStates
from alerts.storage.database import Database
from alerts.telemetry import AlertsTelemetry

_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


class Scraper:
    """Reads a target's text into the store; the labels of a series are parsed once."""

    def __init__(self, store: SeriesStore, url: str) -> None:
        self._url = url
        self._source = store.source("scrape")
        self._target = {"job": "bench", "instance": url.split("/")[2]}
        self._names: list[bytes] = []
        self._rows = self._source.rows(())

    def scrape(self, timestamp_ms: int) -> None:
        """Append what the target says now."""
        with urllib.request.urlopen(self._url, timeout=4) as response:
            lines = response.read().splitlines()
        pairs = [line.rpartition(b" ") for line in lines if not line.startswith(b"#")]
        names = [name for name, _, _ in pairs]
        if names != self._names:
            self._rows = self._source.rows([self._labels(name.decode()) for name in names])
            self._names = names
        values = np.array([number for _, _, number in pairs]).astype(np.float64)
        self._source.append_column(timestamp_ms, self._rows, values)

    def _labels(self, name: str) -> Labels:
        metric = name.partition("{")[0]
        return Labels({**self._target, **dict(_LABEL.findall(name)), METRIC_NAME: metric})


def notify_nobody(alerts: Sequence[Alert], span_context: object) -> None:
    """Take the alerts of a pass and drop them."""


async def scrape_for_ever(scraper: Scraper, interval_s: float) -> None:
    """Scrape at every interval."""
    clock = SystemClock()
    while True:
        with suppress(OSError):  # the target may be busy; the next scrape is another chance
            await asyncio.to_thread(scraper.scrape, int(clock.time() * 1000))
        await asyncio.sleep(interval_s - clock.time() % interval_s)


async def evaluate_for_ever(group: RuleGroup) -> None:
    """Evaluate a group at every one of its slots, and say how each pass went."""
    clock = SystemClock()
    while True:
        now_s = clock.time()
        await asyncio.sleep(group.slot_ms(now_s) / 1000 + group.interval_s - now_s)
        await group.evaluate(group.slot_ms(clock.time()))
        rules = [rule for rule, _ in group.rules]
        line = {
            "group": group.name,
            "seconds": group.last_evaluation_s,
            "missed": group.stats.missed,
            "failed": group.stats.failed_rules + group.stats.failed_saves,
            "alerts": sum(len(rule.active) for rule in rules if isinstance(rule, AlertingRule)),
        }
        print(json.dumps(line), flush=True)


async def evaluate_what_is_asked(context: GroupContext, engine: Engine) -> None:
    """Evaluate the rule file named last on standard input, until that ends."""
    running: tuple[RuleGroup, asyncio.Task[None]] | None = None
    while path := (await asyncio.to_thread(sys.stdin.readline)).strip():
        (definition,) = load_rules([Path(path)], engine=engine, default_interval_s=10)
        group = RuleGroup(definition, context)
        if running is not None:
            before, work = running
            work.cancel()
            await before.stop()
            group.take_over(before)
        running = group, asyncio.create_task(evaluate_for_ever(group))
    if running is not None:
        running[1].cancel()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--interval", type=float, required=True)
    options = parser.parse_args()
    store = SeriesStore(clock=SystemClock(), retention_s=3600)
    engine = Engine(store)
    async with Database(f"sqlite:///{options.folder / 'gatewatch.db'}") as database:
        context = GroupContext(
            engine=engine,
            store=store,
            notify=notify_nobody,
            clock=SystemClock(),
            telemetry=AlertsTelemetry.disabled(),
            states=AlertStates(database),
        )
        scraper = Scraper(store, options.target)
        scraping = asyncio.create_task(scrape_for_ever(scraper, options.interval))
        await evaluate_what_is_asked(context, engine)
        scraping.cancel()


if __name__ == "__main__":
    asyncio.run(main())
