"""What is checked, and how often: the section ``health``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Self

from pydantic import model_validator

from service.config.maintenance_settings import MaintenanceSettings
from service.config.network_probe_settings import (
    DNSProbeSettings,
    ICMPProbeSettings,
    PushProbeSettings,
    TCPProbeSettings,
    TLSProbeSettings,
    WebSocketProbeSettings,
)
from service.config.own_check_settings import OwnCheckSettings
from service.config.probe_settings import HTTPProbeSettings
from service.config.section import Section, repeated
from service.config.service_probe_settings import (
    CommandProbeSettings,
    GRPCProbeSettings,
    RedisProbeSettings,
    SMTPProbeSettings,
    SQLProbeSettings,
)
from service.config.types import CheckName, ConditionText, Count, PositiveDuration, contradiction
from service.health.conditions.findings import Placeholder
from service.health.conditions.parser import parse_condition
from service.health.dependencies import find_cycle

_REACHED = (Placeholder.CONNECTED, Placeholder.RESPONSE_TIME, Placeholder.IP)
PLACEHOLDERS: Final[Mapping[str, tuple[Placeholder, ...]]] = MappingProxyType(
    {
        "http": (
            Placeholder.STATUS,
            *_REACHED,
            Placeholder.BODY,
            Placeholder.HEADER,
            Placeholder.CERTIFICATE_EXPIRATION,
        ),
        "tcp": (*_REACHED, Placeholder.BODY),
        "tls": (*_REACHED, Placeholder.CERTIFICATE_EXPIRATION),
        "dns": (*_REACHED, Placeholder.DNS_RCODE, Placeholder.BODY),
        "icmp": _REACHED,
        "websocket": (
            Placeholder.STATUS,
            *_REACHED,
            Placeholder.BODY,
            Placeholder.CERTIFICATE_EXPIRATION,
        ),
        "grpc": (Placeholder.CONNECTED, Placeholder.RESPONSE_TIME, Placeholder.BODY),
        "redis": (*_REACHED, Placeholder.BODY, Placeholder.CERTIFICATE_EXPIRATION),
        "sql": (Placeholder.CONNECTED, Placeholder.RESPONSE_TIME, Placeholder.BODY),
        "smtp": (
            Placeholder.STATUS,
            *_REACHED,
            Placeholder.BODY,
            Placeholder.CERTIFICATE_EXPIRATION,
        ),
        "command": (Placeholder.STATUS, Placeholder.RESPONSE_TIME, Placeholder.BODY),
        "push": (),
    }
)
"""The kinds of probes, and the placeholders that conditions on what they find may have."""

CONNECTIONS_CHECK: Final = "gateway-connections"
HTTP_POOL_CHECK: Final = "http-pool"
STORAGE_CHECK: Final = "gateway-storage"
BROKER_CHECK: Final = "gateway-broker"
EXPORT_CHECK: Final = "gateway-export"
EVENT_LOOP_CHECK: Final = "gateway-event-loop"
DISK_CHECK: Final = "gateway-disk"
FILES_CHECK: Final = "gateway-files"
BUILT_IN_CHECKS: Final = (
    CONNECTIONS_CHECK,
    HTTP_POOL_CHECK,
    STORAGE_CHECK,
    BROKER_CHECK,
    EXPORT_CHECK,
    EVENT_LOOP_CHECK,
    DISK_CHECK,
    FILES_CHECK,
)
"""Names of the checks of the process itself; no other may have them."""


class CheckSettings(Section):
    """One health check."""

    name: CheckName
    """Name of the check, also the label `check` of its metrics."""
    group: str = ""
    """Name of the group it belongs to, also the label `group` of its metrics."""
    depends_on: tuple[CheckName, ...] = ()
    """Names of the checks it needs: while one of them fails, its own failures are held back."""
    maintenance: tuple[MaintenanceSettings, ...] = ()
    """When what it finds says nothing, besides health.maintenance."""
    interval: PositiveDuration | None = None
    """How often it runs; unset: health.interval."""
    timeout: PositiveDuration = 10.0
    """How long one run may take."""
    failure_threshold: Count = 3
    """Failures in a row that make it down."""
    success_threshold: Count = 1
    """Successes in a row that make it up again."""
    conditions: tuple[ConditionText, ...] = ()
    """What has to hold besides, in Gatus's form: [STATUS] < 300, [BODY].status == up."""
    http: HTTPProbeSettings | None = None
    """An HTTP request to make."""
    tcp: TCPProbeSettings | None = None
    """A port to connect to."""
    tls: TLSProbeSettings | None = None
    """A certificate to look at."""
    dns: DNSProbeSettings | None = None
    """A name to look up."""
    icmp: ICMPProbeSettings | None = None
    """A host to ping."""
    websocket: WebSocketProbeSettings | None = None
    """A WebSocket to open."""
    grpc: GRPCProbeSettings | None = None
    """A gRPC server to ask for its health."""
    redis: RedisProbeSettings | None = None
    """A Redis server to ping."""
    sql: SQLProbeSettings | None = None
    """A database to ask."""
    smtp: SMTPProbeSettings | None = None
    """A mail server to greet."""
    command: CommandProbeSettings | None = None
    """A program to run; health.allow_commands has to let it."""
    push: PushProbeSettings | None = None
    """Reports to wait for."""

    @property
    def kind(self) -> str:
        """The kind of its probe."""
        return next(kind for kind in PLACEHOLDERS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one_probe(self) -> Self:
        given = [kind for kind in PLACEHOLDERS if getattr(self, kind) is not None]
        if len(given) != 1:
            kinds = ", ".join(PLACEHOLDERS)
            raise contradiction(
                f"a check looks at one thing, and this one at {' and '.join(given)}; make them "
                "checks of their own"
                if given
                else f"nothing says what the check {self.name} looks at; give it one of {kinds}",
                *((kind,) for kind in given[1:]),
                (),
            )
        return self

    @model_validator(mode="after")
    def _known_placeholders(self) -> Self:
        for index, text in enumerate(self.conditions):
            for lookup in parse_condition(text).lookups:
                known = PLACEHOLDERS[self.kind]
                if lookup.placeholder not in known:
                    raise contradiction(
                        f"{lookup.placeholder} is nothing that a {self.kind} check finds; it has "
                        f"{', '.join(known) or 'no placeholders'}",
                        ("conditions", index),
                    )
        return self


class HealthSettings(Section):
    """The health-check scheduler."""

    interval: PositiveDuration = 60.0
    """How often connections are checked, and checks without an interval of their own run."""
    allow_commands: bool = False
    """Let checks run programs of this machine."""
    checks: tuple[CheckSettings, ...] = ()
    """What to check besides the gateway's own connections."""
    max_concurrent: Count = 500
    """Checks that run at the same time at most; others wait."""
    maintenance: tuple[MaintenanceSettings, ...] = ()
    """When what checks find says nothing, built-in ones included."""
    own: OwnCheckSettings = OwnCheckSettings()
    """When the built-in checks of the process itself fail."""
    keep_results: PositiveDuration = 86_400.0
    """How long single results are kept."""
    keep_history: PositiveDuration = 100 * 86_400.0
    """How long changes of state are kept, and how long checks were in which state, for uptime."""

    @model_validator(mode="after")
    def _commands_allowed(self) -> Self:
        for index, check in enumerate(self.checks):
            if check.command is not None and not self.allow_commands:
                raise contradiction(
                    f"the check {check.name} runs a program, which has to be allowed: set "
                    "health.allow_commands to true",
                    ("checks", index, "command"),
                )
        return self

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

    @model_validator(mode="after")
    def _dependencies(self) -> Self:
        known = {*BUILT_IN_CHECKS, *(check.name for check in self.checks)}
        for path, name in self._named_dependencies():
            if name not in known:
                raise contradiction(
                    f"there is no check {name}; there are {', '.join(sorted(known))}", path
                )
        cycle = find_cycle({check.name: check.depends_on for check in self.checks})
        if cycle is not None:
            path = next(
                path
                for path, name in self._named_dependencies()
                if (self.checks[int(path[1])].name, name) == cycle[:2]
            )
            raise contradiction(
                f"checks depend on each other: {' needs '.join(cycle)}; remove one of these", path
            )
        return self

    def _named_dependencies(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for index, check in enumerate(self.checks):
            for number, name in enumerate(check.depends_on):
                yield ("checks", index, "depends_on", number), name
