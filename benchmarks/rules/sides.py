"""The two programs ``benchmarks/rules.py`` compares: how they get rules and are watched."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import PATIENCE_S, Child, free_port, running
from benchmarks.rules import HERE

SCRAPE_S: Final = 5
RULES_S: Final = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A rule file with one group: so many rules, alike but for a number."""

    group: str
    name: str
    rules: int
    expression: Callable[[int], str]
    more: str = ""

    def text(self) -> str:
        """Return the rule file."""
        rules = [
            f"  - alert: Rule{at}\n    expr: {self.expression(at)}\n{self.more}"
            for at in range(self.rules)
        ]
        head = f"groups:\n- name: {self.group}\n  interval: {RULES_S}s\n  rules:\n"
        return "".join([head, *rules])


@dataclass(slots=True)
class Measured:
    """What one program came to in one case.

    Attributes:
        first_s: The first pass with these rules.
        passes: How long each pass took that was seen in the time measured, in seconds.
        mean_s: A pass on average.
        cpu_s: CPU time in the time measured.
        memory_mib: Resident at its end.
        alerts: Active at its end.
        troubles: Rules that failed and passes that were missed.
    """

    first_s: float
    passes: list[float]
    mean_s: float
    cpu_s: float
    memory_mib: float
    alerts: int
    troubles: int


class Side:
    """One of the two programs: given rules, watched pass by pass.

    Attributes:
        passes: How long each pass with the rules of now took, in seconds.
    """

    name = ""

    def __init__(self, child: Child, folder: Path) -> None:
        self.passes: list[float] = []
        self.child = child
        self.case: Case | None = None
        self._folder = folder
        self._began: tuple[int, float] = (0, 0.0)

    async def use(self, case: Case) -> None:
        """Evaluate the rules of a case from now on."""
        self.case = case
        self.passes = []

    async def watch(self) -> None:
        """Note every pass, for ever."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Begin to measure."""
        self._began = len(self.passes), self.child.cpu_s

    async def end(self) -> Measured:
        """Return what was measured since ``begin``."""
        count, cpu_s = self._began
        passes = self.passes[count:]
        if not passes:
            raise SystemExit(f"{self.name} finished no pass in the time measured; give it more")
        return Measured(
            first_s=self.passes[0],
            passes=passes,
            mean_s=statistics.fmean(passes),
            cpu_s=self.child.cpu_s - cpu_s,
            memory_mib=self.child.memory_mib,
            alerts=0,
            troubles=0,
        )


class Gatewatch(Side):
    """gatewatch's rules, which print a line for each pass."""

    name = "gatewatch"

    def __init__(self, child: Child, folder: Path) -> None:
        super().__init__(child, folder)
        self._newest: dict[str, int] = {}
        self._troubles = 0

    async def use(self, case: Case) -> None:
        await super().use(case)
        file = self._folder / f"{case.group}.yaml"
        file.write_text(case.text())
        assert self.child.process.stdin is not None
        self.child.process.stdin.write(f"{file}\n".encode())
        await self.child.process.stdin.drain()

    async def watch(self) -> None:
        async for line in self.child.lines():
            newest = json.loads(line)
            if self.case is not None and newest["group"] == self.case.group:
                self.passes.append(newest["seconds"])
                self._newest = newest
        raise SystemExit(f"gatewatch's rules ended: {await self.child.process.wait()}")

    async def begin(self) -> None:
        await super().begin()
        self._troubles = self._newest["missed"] + self._newest["failed"]

    async def end(self) -> Measured:
        measured = await super().end()
        measured.alerts = self._newest["alerts"]
        measured.troubles = self._newest["missed"] + self._newest["failed"] - self._troubles
        return measured


class Prometheus(Side):
    """A Prometheus, asked for its metrics in between."""

    name = "Prometheus"

    def __init__(self, child: Child, folder: Path, url: str) -> None:
        super().__init__(child, folder)
        self._url = url
        self._before: dict[str, float] = {}
        self._seen_s = 0.0

    async def use(self, case: Case) -> None:
        await super().use(case)
        (self._folder / "rules.yml").write_text(case.text())
        self.child.process.send_signal(signal.SIGHUP)

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(RULES_S / 2)
            self._note_pass(await self._metrics())

    def _note_pass(self, metrics: dict[str, float]) -> None:
        if self.case is None:
            return
        of = f'{{rule_group="{self._folder / "rules.yml"};{self.case.group}"}}'
        when_s = metrics.get(f"prometheus_rule_group_last_evaluation_timestamp_seconds{of}", 0.0)
        if when_s > self._seen_s:
            self._seen_s = when_s
            self.passes.append(metrics[f"prometheus_rule_group_last_duration_seconds{of}"])

    async def begin(self) -> None:
        self._before = await self._metrics()
        await super().begin()

    async def end(self) -> Measured:
        measured = await super().end()
        after = await self._metrics()

        def grown(name: str) -> float:
            series = [key for key in after if re.split("[{ ]", key, maxsplit=1)[0] == name]
            return sum(after[key] - self._before.get(key, 0.0) for key in series)

        duration = "prometheus_rule_group_duration_seconds"
        measured.mean_s = grown(f"{duration}_sum") / grown(f"{duration}_count")
        measured.troubles = int(
            grown("prometheus_rule_evaluation_failures_total")
            + grown("prometheus_rule_group_iterations_missed_total")
        )
        found = json.loads(await self._get("/api/v1/query?query=count(ALERTS)"))["data"]["result"]
        measured.alerts = int(found[0]["value"][1]) if found else 0
        return measured

    async def ready(self) -> None:
        """Return when it answers."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(OSError):
                    await self._get("/-/ready")
                    return
                await asyncio.sleep(0.2)

    async def _metrics(self) -> dict[str, float]:
        lines = (await self._get("/metrics")).splitlines()
        pairs = [line.rpartition(" ") for line in lines if line.startswith("prometheus_rule_")]
        return {name: float(value) for name, _, value in pairs}

    async def _get(self, path: str) -> str:
        def get() -> str:
            with urllib.request.urlopen(self._url + path, timeout=10) as response:
                return str(response.read().decode())

        return await asyncio.to_thread(get)


def configure(folder: Path, target: str) -> Path:
    """Write the configuration of a Prometheus without rules; return its file."""
    (folder / "rules.yml").write_text("groups: []\n")
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {SCRAPE_S}s, evaluation_interval: {RULES_S}s}}\n"
        f"rule_files: [{folder / 'rules.yml'}]\n"
        f"scrape_configs: [{{job_name: bench, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    return config


@asynccontextmanager
async def prometheus_side(program: Path, target: str, folder: Path) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes the target."""
    config = configure(folder, target)
    address = f"127.0.0.1:{free_port()}"
    command = (
        *(program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address={address}", "--log.level=warn"),
    )
    async with running(*command, log=folder / "log") as child:
        side = Prometheus(child, folder, f"http://{address}")
        try:
            await side.ready()
        except TimeoutError:
            raise SystemExit(f"{program} does not start: {(folder / 'log').read_text()}") from None
        yield side


@asynccontextmanager
async def gatewatch_side(target: str, folder: Path) -> AsyncIterator[Gatewatch]:
    """Run gatewatch's rules on the target."""
    command = (
        *(sys.executable, HERE / "gatewatch_rules.py", f"--target=http://{target}/metrics"),
        *(f"--folder={folder}", f"--interval={SCRAPE_S}"),
    )
    async with running(*command) as child:
        yield Gatewatch(child, folder)
