"""Every setting, its default and its limits. Reading and reporting is in ``sources``.

Models are frozen and strict about keys. Field descriptions are what ``gatewatch config schema``
prints, so they are written for the person who fills in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from service.config.addresses import is_loopback
from service.config.gateway_settings import GatewaySettings
from service.config.health_settings import HealthSettings
from service.config.section import Section
from service.config.telemetry_settings import TelemetrySettings
from service.config.types import (
    Count,
    Duration,
    Port,
    PositiveDuration,
    PromQLFeature,
    Secret,
    Size,
    contradiction,
)


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
