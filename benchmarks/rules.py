"""gatewatch's rule evaluation beside Prometheus's: same series, rules and intervals, in one run.

    python benchmarks/rules.py [--seconds 90] [--skip-growth] [--prometheus PATH] [--plot FILE]

Both scrape one target and then evaluate four rule files in turn, a quarter of the time each. What
counts is the ratio of a line, Prometheus's time through gatewatch's: the absolute figures belong to
the machine. Prometheus's times are its own metrics. After that comes how gatewatch's evaluation
grows with series and with rules. Linux only, as it reads /proc.

Prometheus is the one of ``--prometheus`` or the variable GATEWATCH_PROMETHEUS, else a newer one in
``~/.cache/gatewatch-e2e/prometheus-*/``, else that of ``make e2e``: from PATH, or Debian's.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.external import programs

HERE: Final = Path(__file__).parent / "rules"
SCRAPE_S: Final = 5
RULES_S: Final = 2
SETTLE_S: Final = 3 * RULES_S
"""How long after a change of rules nothing is measured: the first passes do work once."""
PATIENCE_S: Final = 60.0
NEVER_S: Final = 900.0
"""After this everything is ended, whatever it is doing."""


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


CASES: Final = (
    # Rates add up to about 19,600 for each code, so that half of these rules fire.
    Case(
        "sums",
        "sum by (rate), 10,000 series",
        50,
        lambda at: f"sum by (code) (rate(bench_requests_total[1m])) > {14_600 + 200 * at}",
    ),
    # The gauges swing between 0 and 100: a tenth of the rules has alerts that come and go.
    Case(
        "thresholds",
        "threshold, 10 series, for 5m",
        1_000,
        lambda at: f"bench_queue_size > {90 + at / 10}",
        "    for: 5m\n",
    ),
    # The quantile is 2.5: half of these rules fire.
    Case(
        "quantiles",
        "histogram_quantile, 700 series",
        100,
        lambda at: (
            "histogram_quantile(0.99, sum by (le) (rate(bench_latency_bucket[1m])))"
            f" > {2 + at / 100}"
        ),
    ),
    Case(
        "alerts",
        "10,000 active alerts",
        1,
        lambda _: "bench_requests_total >= 0",
        "    labels: {severity: warning}\n",
    ),
)


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


class Child:
    """A process of this benchmark."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def cpu_s(self) -> float:
        """CPU seconds since it began."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else float("nan")

    async def lines(self) -> AsyncIterator[str]:
        """Return what it prints, line by line."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            yield line.decode().rstrip("\n")

    async def line(self) -> str:
        """Return the next line it prints."""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.lines():
                return line
        raise SystemExit(f"a program of the benchmark ended: {await self.process.wait()}")


def _die_with_parent() -> None:
    """Have the kernel end a child when this process is gone, however it went."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


@asynccontextmanager
async def running(*command: str | Path, log: Path | None = None) -> AsyncIterator[Child]:
    """Run a program until the end of the block, its output to be read here or in a file."""
    with ExitStack() as files:
        output = asyncio.subprocess.PIPE if log is None else files.enter_context(log.open("wb"))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=None if log is None else output,
            preexec_fn=_die_with_parent,
        )
        try:
            yield Child(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


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


async def find_prometheus(given: Path | None) -> Path | str:
    """Return the program, or why there is none."""
    named = given or os.environ.get("GATEWATCH_PROMETHEUS")
    if named:
        found = shutil.which(named)
        return Path(found) if found else f"{named} is no program"
    cache = programs.cache_folder(os.environ)
    newer = sorted(cache.glob("prometheus-*/prometheus"))
    if newer:
        return newer[-1]
    if found := shutil.which("prometheus"):
        return Path(found)
    try:
        return await programs.prometheus(cache) / "prometheus"
    except programs.UnavailableError as error:
        return str(error)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


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


async def until_first_pass(side: Side) -> None:
    """Return when a side has evaluated the rules it was given."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not side.passes:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SystemExit(f"{side.name} does not evaluate its rules") from None


async def measure(case: Case, sides: Sequence[Side], seconds: float) -> list[Measured]:
    """Give all sides the rules of a case and measure them at the same time."""
    await asyncio.gather(*(side.use(case) for side in sides))
    await asyncio.gather(*(until_first_pass(side) for side in sides))
    await asyncio.sleep(SETTLE_S)
    await asyncio.gather(*(side.begin() for side in sides))
    await asyncio.sleep(seconds)
    return list(await asyncio.gather(*(side.end() for side in sides)))


def show_case(case: Case, sides: Sequence[Side], found: Sequence[Measured]) -> None:
    """Print a line for each program, and what it comes to."""
    print(f"{case.name}, {case.rules:,} rule{'s' if case.rules > 1 else ''}")
    for side, one in zip(sides, found, strict=True):
        median_s = statistics.median(one.passes)
        print(
            f"  {side.name:10} {one.mean_s / case.rules * 1e6:11,.1f} us"
            f" {median_s / case.rules * 1e6:11,.1f} us {one.first_s * 1e3:9,.1f} ms"
            f" {one.cpu_s:8.2f} s {one.memory_mib:6.0f} MiB {one.alerts:8,} {len(one.passes):7}"
            + (f"  {one.troubles} failed or missed" if one.troubles else "")
        )
    sys.stdout.flush()


def show_ratios(found: Sequence[Sequence[Measured]]) -> None:
    """Print the four ratios."""
    print(f"\n{'Prometheus / gatewatch':34} {'time':>8} {'median':>8} {'CPU':>8} {'memory':>8}")
    for case, (ours, theirs) in zip(CASES, found, strict=True):
        medians = statistics.median(theirs.passes) / statistics.median(ours.passes)
        print(
            f"{case.name:34} {theirs.mean_s / ours.mean_s:8.2f} {medians:8.2f}"
            f" {theirs.cpu_s / max(ours.cpu_s, 0.01):8.2f}"
            f" {theirs.memory_mib / ours.memory_mib:8.2f}"
        )
    print(flush=True)


async def compare(program: Path | str, options: argparse.Namespace) -> None:
    """Measure the four cases with both programs at once, or with one where there is no other."""
    async with AsyncExitStack() as stack:
        ours_in, theirs_in = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
            for name in ("gatewatch", "prometheus")
        )
        exporter = await stack.enter_async_context(running(sys.executable, HERE / "exporter.py"))
        target = f"127.0.0.1:{await exporter.line()}"
        ours = await stack.enter_async_context(gatewatch_side(target, ours_in))
        sides: list[Side] = [ours]
        if isinstance(program, Path):
            other = prometheus_side(program, target, theirs_in)
            sides.append(await stack.enter_async_context(other))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        watching = [tasks.create_task(side.watch()) for side in sides]
        stack.callback(lambda: [task.cancel() for task in watching])
        await warm_up(sides, options.warm_up)
        print(
            f"{'a rule':>21} {'median':>14} {'first pass':>12} {'CPU':>10} {'memory':>10}"
            f" {'alerts':>8} {'passes':>7}"
        )
        found = []
        for case in CASES:
            found.append(await measure(case, sides, options.seconds / len(CASES)))
            show_case(case, sides, found[-1])
    if len(sides) > 1:
        show_ratios(found)


async def warm_up(sides: Sequence[Side], seconds: float) -> None:
    """Scrape until a minute of samples is there; tell what that alone costs."""
    print(f"scraping for {seconds:.0f} s before any rule ...", flush=True)
    await asyncio.sleep(seconds / 2)
    before = [side.child.cpu_s for side in sides]
    await asyncio.sleep(seconds / 2)
    for side, cpu_s in zip(sides, before, strict=True):
        print(
            f"  {side.name:10} {side.child.cpu_s - cpu_s:5.2f} s of CPU in {seconds / 2:.0f} s,"
            f" {side.child.memory_mib:4.0f} MiB"
        )


async def grow(plot: Path) -> None:
    """Print how gatewatch grows, and draw it."""
    command = (sys.executable, HERE / "growth.py", f"--plot={plot}")
    async with running(*command) as child:
        async for line in child.lines():
            print(line, flush=True)
        if code := await child.process.wait():
            raise SystemExit(f"growth.py ended with {code}")


async def version(program: Path) -> str:
    """Return the first line of what a Prometheus says about itself."""
    async with running(program, "--version") as child:
        return await child.line()


async def main() -> None:
    parser = argparse.ArgumentParser(description="Rule evaluation beside Prometheus.")
    parser.add_argument("--seconds", type=float, default=90.0, help="for the four cases together")
    parser.add_argument("--warm-up", type=float, default=62.0, help="seconds of scraping before")
    parser.add_argument("--skip-growth", action="store_true")
    parser.add_argument("--prometheus", type=Path, help="the program to compare with")
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path(tempfile.gettempdir()) / "gatewatch-rules-growth.png",
        help="where to draw the growth",
    )
    options = parser.parse_args()
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with asyncio.timeout(NEVER_S + options.seconds):
        program = await find_prometheus(options.prometheus)
        if isinstance(program, Path):
            print(f"{program}: {await version(program)}")
        else:
            print(f"NO PROMETHEUS, so nothing to compare with: {program}")
        await compare(program, options)
        if not options.skip_growth:
            await grow(options.plot)


if __name__ == "__main__":
    asyncio.run(main())
