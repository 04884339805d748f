"""The tour itself: what happens, in order, and what is said about it."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TextIO

import aiohttp
from rich.console import Console
from rich.markup import escape

from alerts.clock import Clock, SystemClock
from service.app import App
from service.config.health_settings import CONNECTIONS_CHECK
from service.demo.clients import Listeners, Publisher, listening
from service.demo.scene import ALERT, CHECK, Scene, playing, write_settings
from service.errors import GatewatchError
from service.health.monitor import job_name
from service.health.snapshot import CheckSnapshot
from service.health.state import CheckState
from service.telemetry.span_trees import draw, linked_to
from service.telemetry.spans import FinishedSpans

_CLIENTS: Final = 25
_BUSY_S: Final = 5.0
_PATIENCE_S: Final = 20.0


class DemoError(GatewatchError):
    """Something the tour waited for did not happen."""


async def run_demo(output: TextIO | None = None) -> int:
    """Run the tour and return the exit code."""
    with TemporaryDirectory(prefix="gatewatch-demo-") as directory:
        async with playing() as scene:
            settings = write_settings(Path(directory), scene)
            spans = FinishedSpans()
            clock = SystemClock()
            environment = {
                name: value for name, value in os.environ.items() if not name.startswith("OTEL_")
            }
            app = App(settings, environment=environment, clock=clock, span_processors=[spans])
            async with app:
                tour = Tour(app, scene, spans, clock, output or sys.stdout)
                await tour.run()
    return 0


class Tour:
    """The chapters, played once from first to last."""

    def __init__(
        self, app: App, scene: Scene, spans: FinishedSpans, clock: Clock, output: TextIO
    ) -> None:
        """Show an app that runs."""
        self._app = app
        self._scene = scene
        self._spans = spans
        self._clock = clock
        self._started = clock.monotonic()
        self._console = Console(file=output, highlight=False, soft_wrap=not output.isatty())
        self._states: asyncio.Queue[CheckSnapshot] = asyncio.Queue()
        app.monitor.add_listener(self._on_check)

    async def run(self) -> None:
        """Play all chapters.

        Raises:
            DemoError: Something did not happen in time.
        """
        app = self._app
        self._chapter("A gateway that watches itself")
        self._say(f"gateway     {app.gateway_url}  (WebSocket at /connection/websocket)")
        self._say(f"operations  {app.operations_url}  (/metrics, /health/checks, /jobs)")
        async with (
            aiohttp.ClientSession() as session,
            listening(session, app.gateway_url, clients=_CLIENTS, clock=self._clock) as heard,
        ):
            key = app.settings.gateway.api_key
            publisher = Publisher(
                session,
                app.gateway_url,
                key.get_secret_value() if key is not None else "",
                clock=self._clock,
            )
            await self._messages(publisher, heard)
            await self._trace(publisher)
            await self._connections()
            await self._alert()
        self._chapter("Done")
        self._say("Next: README.md shows traces in Jaeger, your own rules and your own checks.")

    async def _messages(self, publisher: Publisher, heard: Listeners) -> None:
        self._chapter(f"Messages: a back end publishes to {_CLIENTS} subscribers")
        await publisher.publish_for(_BUSY_S, workers=8, pause_s=0.004)
        expected = publisher.published * _CLIENTS
        await self._wait(
            lambda: heard.messages >= expected, f"{expected} deliveries (saw {heard.messages})"
        )
        batches = self._app.gateway.hub.batcher_stats
        reasons = ", ".join(
            f"{count} {reason}" for reason, count in batches.flushes.items() if count
        )
        self._say(
            f"published   {publisher.published} messages, {publisher.published / _BUSY_S:.0f}/s"
        )
        self._say(
            f"delivered   {heard.messages} messages, {heard.messages / _BUSY_S:.0f}/s, 0 lost"
        )
        self._say(
            f"batches     {batches.batches} ({batches.items / batches.batches:.1f} messages each; "
            f"sent by {reasons})"
        )
        self._say(
            f"frames      {heard.frames} written instead of {heard.messages}: "
            f"{heard.messages / heard.frames:.1f} messages in each"
        )
        self._say(
            f"latency     {heard.latency_ms(0.5):.1f} ms median, "
            f"{heard.latency_ms(0.99):.1f} ms at the 99th percentile, publish to client"
        )

    async def _trace(self, publisher: Publisher) -> None:
        self._chapter("One message as a trace: request, channel, batch, write")
        trace_id = secrets.randbits(127) + 1
        parent = f"00-{trace_id:032x}-{secrets.randbits(63) + 1:016x}-01"
        await publisher.publish({"number": -1}, headers={"traceparent": parent})
        await self._wait(
            lambda: (
                {"POST", "publish", "deliver"}
                <= {span.name.split()[0] for span in self._spans.trace(trace_id)}
            ),
            "the spans of a message",
        )
        spans = self._spans.trace(trace_id)
        linked = linked_to(trace_id, self._spans.spans())
        self._console.print(draw(spans, linked))

    async def _connections(self) -> None:
        self._chapter("Health: every connection is checked, every 60 s and now")
        await self._app.scheduler.run_now(job_name(CONNECTIONS_CHECK))
        last = self._app.monitor.check(CONNECTIONS_CHECK).status.last
        self._say(f"{CONNECTIONS_CHECK}  {last.reason if last is not None else 'not run'}")

    async def _alert(self) -> None:
        self._chapter("An alert's life: a check fails, a rule fires, a webhook arrives")
        await self._until_check(CheckState.UP)
        self._say("the shop is broken on purpose")
        self._scene.healthy = False
        broken = self._clock.monotonic()
        await self._until_check(CheckState.DOWN)
        await self._wait(lambda: ALERT in self._active("pending"), "the alert to be pending")
        self._say(f"rule        {ALERT} is pending: it must hold for 3 s", since=broken)
        await self._wait(lambda: ALERT in self._active("firing"), "the alert to fire")
        self._say(f"rule        {ALERT} is firing", since=broken)
        await self._until_webhook("firing", broken)
        self._say("the shop is repaired")
        self._scene.healthy = True
        repaired = self._clock.monotonic()
        await self._until_check(CheckState.UP)
        await self._until_webhook("resolved", repaired)

    async def _until_check(self, wanted: CheckState) -> None:
        while (check := await self._next(self._states, f"the check to be {wanted.name}")).name:
            state = check.state
            last = check.status.last
            reason = f": {last.reason}" if last is not None and last.reason else ""
            self._say(f"check       {check.name} is {state.name.lower()}{reason}")
            if state is wanted:
                return

    async def _until_webhook(self, wanted: str, since: float) -> None:
        payload: dict[str, Any] = await self._next(self._scene.webhooks, f"the {wanted} webhook")
        if payload["status"] != wanted:
            raise DemoError(f"expected a webhook that says {wanted}, got {payload['status']}")
        alert = payload["alerts"][0]
        summary = alert["annotations"].get("summary", "")
        self._say(
            f"webhook     {payload['receiver']} was told: {payload['status']}, "
            f"{alert['labels']['alertname']} ({summary})",
            since=since,
        )

    def _active(self, state: str) -> set[str]:
        return {
            instance.labels["alertname"]
            for instance in self._app.alerting.alerts()
            if str(instance.state) == state
        }

    def _on_check(self, before: CheckSnapshot, after: CheckSnapshot) -> None:
        if after.name == CHECK and before.state is not after.state:
            self._states.put_nowait(after)

    async def _next(self, queue: asyncio.Queue[Any], what: str) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await queue.get()
        except TimeoutError as error:
            raise DemoError(f"waited {_PATIENCE_S:g} s in vain for {what}") from error

    async def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = self._clock.monotonic() + _PATIENCE_S
        while not condition():
            if self._clock.monotonic() > deadline:
                raise DemoError(f"waited {_PATIENCE_S:g} s in vain for {what}")
            await self._clock.sleep(0.02)

    def _chapter(self, title: str) -> None:
        self._console.print(f"\n[bold]{title}[/bold]")

    def _say(self, line: str, *, since: float | None = None) -> None:
        now = self._clock.monotonic()
        after = f"  [dim](after {now - since:.1f} s)[/dim]" if since is not None else ""
        self._console.print(f"[dim]{now - self._started:5.1f} s[/dim]  {escape(line)}{after}")
