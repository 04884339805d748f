"""Every setting, its default and its limits. Reading and reporting is in ``sources``.

Models are frozen and strict about keys. Field descriptions are what ``gatewatch config schema``
prints, so they are written for the person who fills in the file.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, model_validator

from service.config.channel_settings import ChannelOptions, NamespaceOptions
from service.config.proxy_settings import ProxySettings
from service.config.section import Section, repeated
from service.config.types import (
    Amount,
    CheckName,
    Count,
    Duration,
    Port,
    PositiveDuration,
    PromQLFeature,
    PublicKey,
    QueueSize,
    Secret,
    Size,
    TraceURLTemplate,
    contradiction,
)

EXAMPLE_API_KEY = "dev-key"
"""The key in the shipped gatewatch.yaml: everyone knows it, so it is good on loopback only."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class ServiceSettings(Section):
    """Who this process is, and how it stops."""

    name: str = "gatewatch"
    """service.name of the telemetry, and the label `job` of this process's own series."""
    instance: str = ""
    """service.instance.id of the telemetry and the label `instance`; empty: host name and port."""
    environment: str = ""
    """deployment.environment.name of the telemetry; empty: not said."""
    data_dir: Path = Path("data")
    """Where state is kept; created when first needed."""
    shutdown_timeout: PositiveDuration = 20.0
    """How long a stop may take in all, from SIGTERM to the end of the process."""


class TokenSettings(Section):
    """How tokens (JWT) are checked. Without any key every token is refused."""

    hmac_secret: Secret | None = None
    """Secret of HS256, HS384 and HS512 tokens."""
    rsa_public_key: PublicKey = ""
    """Public key of RS256, RS384 and RS512 tokens, in PEM; empty: none."""
    ecdsa_public_key: PublicKey = ""
    """Public key of ES256, ES384 or ES512 tokens, in PEM; empty: none."""
    eddsa_public_key: PublicKey = ""
    """Public key of EdDSA tokens (Ed25519), in PEM; empty: none."""
    jwks_url: AnyHttpUrl | None = None
    """Address of a JSON Web Key Set with the public keys, in place of those above."""
    jwks_refresh_interval: PositiveDuration = 3600.0
    """How old the key set may become before it is fetched again."""
    audience: str = ""
    """Required value of the claim `aud`; empty: not checked."""
    issuer: str = ""
    """Required value of the claim `iss`; empty: not checked."""

    @property
    def has_keys(self) -> bool:
        """Whether any token can be good."""
        return bool(self.hmac_secret or self.jwks_url or any(self._public_keys.values()))

    @property
    def _public_keys(self) -> dict[str, str]:
        return {
            "rsa_public_key": self.rsa_public_key,
            "ecdsa_public_key": self.ecdsa_public_key,
            "eddsa_public_key": self.eddsa_public_key,
        }

    @model_validator(mode="after")
    def _one_source_of_public_keys(self) -> Self:
        given = next((name for name, key in self._public_keys.items() if key), None)
        if given is not None and self.jwks_url is not None:
            raise contradiction(
                "public keys come from jwks_url or stand here, not both: remove the one or the "
                "other",
                (given,),
                ("jwks_url",),
            )
        return self


class GatewaySettings(Section):
    """The listener that clients and back ends use."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8000
    """Port to listen on; 0 picks a free one."""
    api_key: Secret | None = None
    """Key of the server API (header X-API-Key); without it the API refuses every request."""
    api_error_mode: Literal["", "transport"] = ""
    """transport: errors of the server API have an HTTP status of their own, without 200."""
    allow_anonymous: bool = False
    """Let clients connect without a token."""
    token: TokenSettings = TokenSettings()
    """Connection tokens, and subscription tokens where `subscription_token` has no key."""
    subscription_token: TokenSettings = TokenSettings()
    """Subscription tokens, where they are signed with other keys than connection tokens."""
    max_connections: Count = 1000
    """Open WebSocket connections at most; the next one is answered 503."""
    idle_timeout: PositiveDuration = 300.0
    """A connection with no traffic in either direction for so long is closed."""
    ping_interval: PositiveDuration = 25.0
    """How often each client is pinged."""
    pong_timeout: PositiveDuration = 8.0
    """How long a client may take to answer a ping; shorter than ping_interval."""
    stale_timeout: PositiveDuration = 10.0
    """How long a connection may stay open without a successful connect command."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of browser pages that may connect, such as https://*.example.com; a client that
    sends no Origin header is always allowed."""
    max_message_size: Size = 65536
    """Largest frame a client may send."""
    max_api_body_size: Size = 8 * 1024 * 1024
    """Largest request body of the server API."""
    max_queue_size: QueueSize = 1024 * 1024
    """Bytes waiting for one slow client at most; past it the client is disconnected. Publications
    that do not fit, with 4KiB to spare, are refused."""
    max_channels_per_connection: Count = 128
    """Channels one connection may be subscribed to."""
    max_commands_per_second: Amount = 500
    """Commands of one connection that are executed in a second, with as many at once; past it they
    are answered with error 111, and past twice as many the connection ends. 0: no limit."""
    max_connections_per_second: Amount = 0
    """Connections taken in a second, with as many at once; the next one is answered 503 before it
    costs anything. 0: no limit."""
    write_timeout: PositiveDuration = 5.0
    """A client that takes nothing of what waits for it for so long is disconnected."""
    history_memory: Size = 64 * 1024 * 1024
    """Memory of what is kept of all channels; past it the oldest publications are dropped."""
    history_meta_ttl: PositiveDuration = 30 * 86_400.0
    """How long the position of an unused channel is remembered."""
    history_limit: Count = 300
    """Publications one client may ask for at once, and may have missed and still recover."""
    position_check_interval: PositiveDuration = 40.0
    """How often it is checked that subscribers that can recover missed nothing."""
    drain_timeout: PositiveDuration = 10.0
    """How long a stop waits for clients to take what is queued for them."""
    drain_window: Duration = 3.0
    """Over how long a stop spreads its goodbyes, so that clients do not come back all at once; up
    to 100 connections need none, and no more than half of drain_timeout is used."""
    channels: ChannelOptions = ChannelOptions()
    """Options of channels without a namespace."""
    namespaces: tuple[NamespaceOptions, ...] = ()
    """Options of channels in a namespace."""
    proxy: ProxySettings = ProxySettings()
    """Back ends that what clients ask is forwarded to."""

    @model_validator(mode="after")
    def _channels_have_their_back_ends(self) -> Self:
        self._check_back_ends(self.channels, "channels")
        for index, namespace in enumerate(self.namespaces):
            self._check_back_ends(namespace, "namespaces", index)
        return self

    def _check_back_ends(self, options: ChannelOptions, *path: str | int) -> None:
        known, usual = {each.name for each in self.proxy.proxies}, self.proxy.usual()
        for event in ("subscribe", "publish"):
            enabled = getattr(options, f"{event}_proxy_enabled")
            name = getattr(options, f"{event}_proxy_name")
            if name and name not in known:
                raise contradiction(self.proxy.unknown(name), (*path, f"{event}_proxy_name"))
            if enabled and not name and event not in usual:
                raise contradiction(
                    f"there is no back end to ask: set {event}_proxy_name, or "
                    f"gateway.proxy.{event}.endpoint",
                    (*path, f"{event}_proxy_enabled"),
                )
            if name and not enabled:
                raise contradiction(
                    f"{name} is not asked unless {event}_proxy_enabled is set",
                    (*path, f"{event}_proxy_name"),
                )

    @model_validator(mode="after")
    def _back_ends_in_time(self) -> Self:
        for path, upstream in self.proxy.upstreams():
            if upstream.timeout >= self.pong_timeout:
                raise contradiction(
                    "while a client waits for a back end its pong is not read, and it would be "
                    "cut off: timeout must be shorter than gateway.pong_timeout",
                    ("proxy", *path, "timeout"),
                    ("pong_timeout",),
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pong_timeout >= self.ping_interval:
            raise contradiction(
                "a client must have answered a ping before the next one: "
                "pong_timeout must be shorter than ping_interval",
                ("pong_timeout",),
                ("ping_interval",),
            )
        twice = repeated([namespace.name for namespace in self.namespaces])
        if twice is not None:
            raise contradiction(
                f"the namespace {self.namespaces[twice].name} stands there twice; "
                "put its options in one place",
                ("namespaces", twice, "name"),
            )
        return self

    @model_validator(mode="after")
    def _claims_have_keys(self) -> Self:
        token = self.subscription_token
        if not token.has_keys and token != TokenSettings():
            raise contradiction(
                "there is no key to go with what is required of subscription tokens: set one "
                "here, or leave the section out and gateway.token is used for both",
                ("subscription_token",),
            )
        return self

    @model_validator(mode="after")
    def _key_is_secret(self) -> Self:
        key = self.api_key.get_secret_value() if self.api_key else ""
        if key == EXAMPLE_API_KEY and not is_loopback(self.host):
            raise contradiction(
                f"the key of the shipped example is known to everyone, and {self.host} is open "
                "to the network: choose a key of your own, or listen on 127.0.0.1",
                ("api_key",),
                ("host",),
            )
        return self


class OperationsAuth(Section):
    """Who may use the operations listener."""

    username: str = ""
    """User of HTTP basic authentication; empty: none."""
    password: Secret | None = None
    """Password of HTTP basic authentication."""
    bearer_token: Secret | None = None
    """Token of `Authorization: Bearer`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.username) != (self.password is not None):
            raise contradiction(
                "username and password are set together or not at all",
                ("username",),
                ("password",),
            )
        return self

    @property
    def required(self) -> bool:
        """Whether requests must authenticate."""
        return self.password is not None or self.bearer_token is not None


class OperationsSettings(Section):
    """The listener for operators: metrics, health, alerts."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback requires `auth`."""
    port: Port = 8001
    """Port to listen on; 0 picks a free one."""
    auth: OperationsAuth = OperationsAuth()
    """Credentials; required off loopback."""


class BatchingSettings(Section):
    """How publications of one channel are gathered into one frame."""

    max_messages: Count = 100
    """Publications in one frame at most."""
    max_bytes: Size = 65536
    """Bytes in one frame at most, unless a single publication is larger."""
    max_delay: Duration = 0.010
    """How long a publication may wait for others."""
    eager: bool = True
    """A channel that was quiet sends at once and gathers only while messages keep coming."""
    max_pending: Count = 10_000
    """Publications waiting in one batcher at most; past it publishers wait."""


class HTTPPoolSettings(Section):
    """Outgoing HTTP connections."""

    max_connections: Count = 100
    """Open connections at most."""
    max_connections_per_host: Count = 30
    """Open connections to one host and port at most."""
    timeout: PositiveDuration = 30.0
    """A whole request, from asking for a connection to the last byte."""
    connect_timeout: PositiveDuration = 10.0
    """Until a connection is established."""
    keepalive_timeout: PositiveDuration = 30.0
    """How long an idle connection is kept."""
    dns_cache_ttl: Duration = 60.0
    """How long a resolved name is kept; 0 resolves every time."""


class PoolsSettings(Section):
    """Connection pools."""

    http: HTTPPoolSettings = HTTPPoolSettings()
    """Outgoing HTTP connections."""


class HTTPProbeSettings(Section):
    """A request whose answer says whether something works."""

    url: AnyHttpUrl
    """What to request."""
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = "GET"
    """Request method."""
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Request headers."""
    body: str = ""
    """Request body."""
    expected_status: tuple[Annotated[int, Field(ge=100, le=599, strict=True)], ...] = ()
    """Statuses that count as success; empty: every 2xx."""
    follow_redirects: bool = True
    """Follow up to 10 redirects."""

    @model_validator(mode="after")
    def _credentials_once(self) -> Self:
        given = next((name for name in self.headers if name.lower() == "authorization"), None)
        if given is not None and (self.url.username or self.url.password):
            raise contradiction(
                "the credentials in the URL are sent as the header Authorization as well: "
                "remove the one or the other",
                ("headers", given),
                ("url",),
            )
        return self


class CheckSettings(Section):
    """One health check."""

    name: CheckName
    """Name of the check, also the label `check` of its metrics."""
    interval: PositiveDuration | None = None
    """How often it runs; unset: health.interval."""
    timeout: PositiveDuration = 10.0
    """How long one run may take."""
    failure_threshold: Count = 3
    """Failures in a row that make it down."""
    success_threshold: Count = 1
    """Successes in a row that make it up again."""
    http: HTTPProbeSettings
    """The HTTP request to make."""


class HealthSettings(Section):
    """The health-check scheduler."""

    interval: PositiveDuration = 60.0
    """How often connections are checked, and checks without an interval of their own run."""
    checks: tuple[CheckSettings, ...] = ()
    """What to check besides the gateway's own connections."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        twice = repeated([check.name for check in self.checks])
        if twice is not None:
            raise contradiction(
                f"the name {self.checks[twice].name} stands there twice; "
                "results could not be told apart",
                ("checks", twice, "name"),
            )
        return self


class OTLPSettings(Section):
    """Where telemetry is sent. `OTEL_EXPORTER_OTLP_*` variables fill what is not set here."""

    endpoint: str = ""
    """Base URL of a collector, such as http://127.0.0.1:4318; empty: nothing is sent."""
    protocol: Literal["http/protobuf", "grpc"] | None = None
    """Unset: OTEL_EXPORTER_OTLP_PROTOCOL, or http/protobuf."""
    headers: dict[str, Secret] = {}  # noqa: RUF012 - pydantic copies it
    """Headers of every export request."""
    timeout: PositiveDuration = 3.0
    """One export request."""


class TelemetrySettings(Section):
    """Traces, metrics and logs."""

    otlp: OTLPSettings = OTLPSettings()
    """Export to a collector."""
    sampling: Annotated[float, Field(ge=0, le=1, strict=True)] = 1.0
    """Share of traces that are recorded, from 0 to 1."""
    collect_interval: PositiveDuration = 5.0
    """How often metrics are collected for the rules."""
    export_interval: PositiveDuration = 15.0
    """How often metrics are sent to the collector."""
    shutdown_timeout: PositiveDuration = 3.0
    """How long a stop waits for telemetry to be sent."""
    trace_url_template: TraceURLTemplate = ""
    """Page of a trace, such as http://127.0.0.1:16686/trace/{trace_id}; alerts link to it. Empty:
    alerts carry the id of their trace only."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log records to write."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON in a pipe."""


class AlertsSettings(Section):
    """Rules, their evaluation and where alerts go."""

    rule_files: tuple[str, ...] = ()
    """Rule files in Prometheus's format; globs are allowed."""
    default_rules: bool = True
    """Also evaluate the rules gatewatch ships over its own metrics."""
    evaluation_interval: PositiveDuration = 15.0
    """How often groups without an interval of their own are evaluated."""
    promql_features: tuple[PromQLFeature, ...] = ()
    """Feature flags of Prometheus for rules and queries: promql-experimental-functions,
    promql-delayed-name-removal; promql-duration-expr is always on."""
    retention: PositiveDuration = 3600.0
    """How long samples are kept for the rules."""
    max_series: Count = 100_000
    """Most series held; new ones beyond it are refused, those that are held go on."""
    max_series_per_metric: Count = 50_000
    """Most series of one metric name, so that a label that runs wild leaves room for others."""
    max_memory: Size = 1 << 30
    """Memory of samples and labels beyond which new series are refused."""
    snapshot_interval: PositiveDuration = 120.0
    """How often the series are written to the data directory, to be read at the next start."""
    alertmanager_config: Path | None = None
    """Routes and receivers in Alertmanager's format; unset: alerts are written to the log."""
    channel_folders: tuple[Path, ...] = ()
    """Folders with channel files of your own, which stand in for shipped ones of the same name."""
    private_addresses: bool = True
    """Whether the URLs of receivers may lead to this machine and private networks; one whose host
    comes out of a template never may."""
    storage_url: str = ""
    """SQLAlchemy URL of the database; empty: SQLite in the data directory."""
    history_retention: PositiveDuration = 30 * 86_400.0
    """How long it is kept what happened to alerts."""
    external_url: str = ""
    """URL of the operations listener as people reach it, for links in notifications; empty:
    made from its host and port."""


class Settings(Section):
    """All of gatewatch.yaml."""

    service: ServiceSettings = ServiceSettings()
    """Who this process is, and how it stops."""
    gateway: GatewaySettings = GatewaySettings()
    """The listener that clients and back ends use."""
    operations: OperationsSettings = OperationsSettings()
    """The listener for operators."""
    batching: BatchingSettings = BatchingSettings()
    """How publications are gathered."""
    pools: PoolsSettings = PoolsSettings()
    """Connection pools."""
    health: HealthSettings = HealthSettings()
    """The health-check scheduler."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Traces, metrics and logs."""
    alerts: AlertsSettings = AlertsSettings()
    """Rules, their evaluation and where alerts go."""

    @model_validator(mode="after")
    def _batches_fit_queues(self) -> Self:
        gateway = self.gateway
        for path, options in (
            (("gateway", "channels"), gateway.channels),
            *(
                (("gateway", "namespaces", index), namespace)
                for index, namespace in enumerate(gateway.namespaces)
            ),
        ):
            if (options.batch_max_bytes or 0) > gateway.max_queue_size:
                raise contradiction(
                    "a client whose queue is smaller than a batch is disconnected by the first "
                    "full one: batch_max_bytes must not be larger than gateway.max_queue_size",
                    (*path, "batch_max_bytes"),
                    ("gateway", "max_queue_size"),
                )
        if self.batching.max_bytes > gateway.max_queue_size:
            raise contradiction(
                "a client whose queue is smaller than a batch is disconnected by the first full "
                "one: batching.max_bytes must not be larger than gateway.max_queue_size",
                ("batching", "max_bytes"),
                ("gateway", "max_queue_size"),
            )
        return self

    @model_validator(mode="after")
    def _operations_protected(self) -> Self:
        if not is_loopback(self.operations.host) and not self.operations.auth.required:
            raise contradiction(
                f"{self.operations.host or 'every address'} is open to the network: set "
                "operations.auth (username and password, or bearer_token), or listen on 127.0.0.1",
                ("operations", "host"),
                ("operations", "auth"),
            )
        return self
