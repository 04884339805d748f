"""The gateway as one part: built from settings, served on a listener, drained at the end."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic import SecretStr

from alerts.clock import Clock
from service.codec import encode
from service.config.gateway_settings import GatewaySettings
from service.config.settings import BatchingSettings
from service.gateway.api import METHODS, ServerAPI
from service.gateway.api_clients import ClientMethods
from service.gateway.api_publishing import PublishingMethods
from service.gateway.authentication import Authenticator, Verifiers
from service.gateway.back_ends import BackEnds
from service.gateway.batcher import BatchLimits
from service.gateway.broker import Broker, MemoryBroker
from service.gateway.channels import ChannelRules
from service.gateway.client import Client
from service.gateway.codes import CONNECTION_IDLE, NO_PONG, SHUTDOWN
from service.gateway.commands import CommandParts, Commands
from service.gateway.endpoint import PATH, WebSocketEndpoint
from service.gateway.hub import Hub
from service.gateway.idempotency import IdempotencyCache
from service.gateway.positions import PositionCheck
from service.gateway.protocol import MAX_ENVELOPE_BYTES
from service.gateway.proxy import Proxy
from service.gateway.sessions import Sessions
from service.gateway.stats import GatewayStats
from service.gateway.streams import MemoryStreams
from service.gateway.subscriptions import Subscriptions
from service.gateway.tracing import CommandTracing, PublicationTracing
from service.pools.http import HTTPConnectionPool
from service.pools.websocket import (
    ConnectionPolicy,
    DrainReport,
    WebSocketConnectionManager,
)
from service.telemetry.instruments import Instruments
from service.telemetry.sampling import MessageSampling

if TYPE_CHECKING:  # an optional extra
    from service.gateway.redis.broker import RedisBroker

MISSED_PINGS: Final = 1.5
"""The sweep pings a connection that was silent for so many ping intervals."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What clients and back ends are known by.

    Attributes:
        verifiers: Check the tokens of clients.
        api_key: Lets requests of back ends in; None: none is let in.
    """

    verifiers: Verifiers
    api_key: SecretStr | None


class Gateway:
    """Hub, connections, protocol and API, wired together."""

    def __init__(
        self,
        settings: GatewaySettings,
        batching: BatchingSettings,
        *,
        node: str,
        clock: Clock,
        random: Random,
        instruments: Instruments,
        sampling: MessageSampling,
        pool: HTTPConnectionPool | None = None,
    ) -> None:
        """Build the parts; nothing listens yet.

        Args:
            settings: Those of the gateway.
            batching: How publications are gathered.
            node: Name of this process.
            clock: Time and timers.
            random: Jitter.
            instruments: Spans and histograms.
            sampling: Which traces are recorded.
            pool: Requests to others; needed where keys of tokens are to be fetched or back ends
                to be asked.

        Raises:
            TokenKeyError: A key of tokens in the settings cannot be used.
        """
        self._settings = settings
        self.proxy = _proxy(settings, pool, clock, random, instruments)
        self.stats = GatewayStats()
        self.connections: WebSocketConnectionManager[Client] = WebSocketConnectionManager(
            ConnectionPolicy(
                max_connections=settings.max_connections,
                idle_timeout_s=settings.idle_timeout,
                pong_timeout_s=settings.pong_timeout,
                ping_after_s=settings.ping_interval * MISSED_PINGS,
                large_queue_bytes=settings.max_queue_size // 2,
                idle=CONNECTION_IDLE,
                dead=NO_PONG,
                shutdown=SHUTDOWN,
            ),
            clock=clock,
        )
        self.hub = Hub(
            limits=BatchLimits(
                max_messages=batching.max_messages,
                max_bytes=batching.max_bytes,
                max_delay_s=batching.max_delay,
                eager=batching.eager,
                max_pending=batching.max_pending,
            ),
            clock=clock,
            instruments=instruments,
            tracing=PublicationTracing(instruments.spans, tag=settings.publication_traceparent),
            stats=self.stats,
        )
        self.streams = MemoryStreams(
            max_bytes=settings.history_memory, meta_ttl_s=settings.history_meta_ttl, clock=clock
        )
        self.redis_broker = self._create_redis_broker(settings, node, clock, random, instruments)
        self.broker: Broker = self.redis_broker or MemoryBroker(
            self.hub, self.streams, IdempotencyCache(clock), node
        )
        self._positions = PositionCheck(
            self.hub, self.broker, interval_s=settings.position_check_interval, clock=clock
        )
        self.broker.on_gap(self._positions.hurry)
        self.subscriptions = Subscriptions(
            self.hub,
            self.broker,
            recovery_limit=settings.history_limit,
            clock=clock,
            stats=self.stats,
        )
        sessions = Sessions()
        rules = ChannelRules(settings)
        self.authenticator = Authenticator(
            settings.token, settings.subscription_token, clock=clock, pool=pool
        )
        self._back_ends: BackEnds | None = None
        if self.proxy is not None:
            self._back_ends = BackEnds(
                self.proxy,
                rules=rules,
                subscriptions=self.subscriptions,
                sampling=sampling,
                clock=clock,
                random=random,
                max_data_bytes=settings.max_queue_size - MAX_ENVELOPE_BYTES,
            )
        commands = Commands(
            settings,
            CommandParts(
                broker=self.broker,
                subscriptions=self.subscriptions,
                rules=rules,
                tokens=self.authenticator,
                sampling=sampling,
                tracing=CommandTracing(
                    instruments.spans,
                    sampling,
                    rules=rules,
                    rpc_namespaces=self.proxy.rpc_namespaces if self.proxy is not None else (),
                    clock=clock,
                ),
                stats=self.stats,
                durations=instruments.process_duration,
                random=random,
                back_ends=self._back_ends,
            ),
        )
        self._endpoint = WebSocketEndpoint(
            settings,
            connections=self.connections,
            commands=commands,
            subscriptions=self.subscriptions,
            sessions=sessions,
            clock=clock,
            stats=self.stats,
            instruments=instruments,
        )
        self._api = ServerAPI(
            settings,
            hub=self.hub,
            publishing=PublishingMethods(
                settings, hub=self.hub, broker=self.broker, rules=rules, sampling=sampling
            ),
            clients=ClientMethods(
                settings,
                sessions=sessions,
                subscriptions=self.subscriptions,
                rules=rules,
                clock=clock,
            ),
            connections=self.connections,
            clock=clock,
            stats=self.stats,
            peers=self.broker.peers,
        )

    def prepare_keys(self, settings: GatewaySettings) -> Keys:
        """Return the keys of other settings, for ``use_keys``; nothing changes.

        Raises:
            TokenKeyError: A key of tokens cannot be used.
        """
        verifiers = self.authenticator.prepare(settings.token, settings.subscription_token)
        return Keys(verifiers, settings.api_key)

    async def use_keys(self, keys: Keys) -> None:
        """Judge tokens and requests of back ends by other keys from now on."""
        await self.authenticator.use(keys.verifiers)
        self._api.use_key(keys.api_key)

    def application(self) -> web.Application:
        """Return the application to listen with."""
        application = web.Application(client_max_size=self._settings.max_api_body_size)
        application.cleanup_ctx.append(self._background)
        application.router.add_get(PATH, self._endpoint.handle)
        for method in METHODS:
            application.router.add_post(f"/api/{method}", self._api.handler(method))
        application.router.add_post("/api/publish_stream", self._api.publish_stream)
        application.router.add_get("/health", self._health)
        return application

    async def drain(self, timeout_s: float = math.inf) -> DrainReport:
        """Refuse what is new, send what is waiting, tell clients to reconnect, await their end.

        Args:
            timeout_s: When to cut clients off even if ``gateway.drain_timeout`` is longer.
        """
        self.hub.flush()
        settings = self._settings
        return await self.connections.drain(
            min(settings.drain_timeout, timeout_s), window_s=settings.drain_window
        )

    async def _background(self, application: web.Application) -> AsyncIterator[None]:
        async with (
            self.broker,
            self._positions,
            self.authenticator,
            AsyncExitStack() as stack,
        ):
            if self._back_ends is not None:
                await stack.enter_async_context(self._back_ends)
            yield

    def _create_redis_broker(
        self,
        settings: GatewaySettings,
        node: str,
        clock: Clock,
        random: Random,
        instruments: Instruments,
    ) -> RedisBroker | None:
        if settings.broker.type != "redis":
            return None
        from service.gateway.redis.broker import RedisBroker  # noqa: PLC0415 - an optional extra

        return RedisBroker(
            settings.broker.redis,
            hub=self.hub,
            position_ttl_s=settings.history_meta_ttl,
            clock=clock,
            random=random,
            instruments=instruments,
            stats=self.stats,
            node=node,
        )

    async def _health(self, request: web.Request) -> web.Response:
        if self.connections.draining:
            return web.Response(
                status=503,
                body=encode({"status": "draining"}),
                content_type="application/json",
            )
        return web.Response(body=encode({}), content_type="application/json")


def _proxy(
    settings: GatewaySettings,
    pool: HTTPConnectionPool | None,
    clock: Clock,
    random: Random,
    instruments: Instruments,
) -> Proxy | None:
    if pool is None:
        if any(settings.proxy.upstreams()):
            raise ValueError("back ends in gateway.proxy cannot be asked without a pool")
        return None
    return Proxy(
        settings.proxy,
        max_data_bytes=settings.max_queue_size - MAX_ENVELOPE_BYTES,
        pool=pool,
        clock=clock,
        random=random,
        instruments=instruments,
    )
