"""Makes the probe that the settings of a check ask for.

What needs a library of its own is imported with the first such probe: it takes a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypedDict

from alerts.clock import Clock
from service.config.health_settings import CheckSettings
from service.config.network_probe_settings import DNSProbeSettings, PushProbeSettings
from service.config.service_probe_settings import (
    CommandProbeSettings,
    GRPCProbeSettings,
    RedisProbeSettings,
    SMTPProbeSettings,
    SQLProbeSettings,
)
from service.health.conditions.parser import parse_condition
from service.health.probes.command import CommandProbe
from service.health.probes.http import HTTPProbe
from service.health.probes.icmp import ICMPProbe
from service.health.probes.outcome import Expectations
from service.health.probes.push import PushProbe
from service.health.probes.tcp import TCPProbe
from service.health.probes.tls import TLSProbe
from service.health.probes.tls_contexts import ProbeTLSContexts
from service.health.probes.websocket import WebSocketProbe
from service.health.pushes import PushInbox
from service.pools.http import HTTPConnectionPool
from service.pools.lookups import Lookups

if TYPE_CHECKING:
    from service.health.checks import Probe


@dataclass(frozen=True, slots=True)
class ProbeParts:
    """What probes work with.

    Attributes:
        pool: Outgoing HTTP.
        clock: Time.
        inbox: What things that report by themselves have said.
        environment: The process's environment, of which commands get a little.
        contexts: TLS.
    """

    pool: HTTPConnectionPool
    clock: Clock
    inbox: PushInbox
    environment: Mapping[str, str] = field(default_factory=dict)
    contexts: ProbeTLSContexts = field(default_factory=ProbeTLSContexts)


def make_probe(check: CheckSettings, parts: ProbeParts, *, interval_s: float) -> Probe:
    """Return the probe of a check.

    Args:
        check: Its settings, with exactly one kind of probe.
        parts: What probes work with.
        interval_s: How often the check runs.
    """
    expectations = Expectations(tuple(parse_condition(text) for text in check.conditions))
    making = _Making(check.name, interval_s, parts, expectations)
    return _MAKERS[check.kind](getattr(check, check.kind), making)


@dataclass(frozen=True, slots=True)
class _Making:
    """What makers are given besides the settings of a probe."""

    name: str
    interval_s: float
    parts: ProbeParts
    expectations: Expectations

    @property
    def judging(self) -> _Judging:
        """The arguments that all probes with conditions take."""
        return {"clock": self.parts.clock, "expectations": self.expectations}

    @property
    def reaching(self) -> _Reaching:
        """The arguments of those that look up names."""
        return {"lookups": self.parts.pool.lookups, **self.judging}

    @property
    def securing(self) -> _Securing:
        """The arguments of those that make TLS connections as well."""
        return {"contexts": self.parts.contexts, **self.judging}


class _Judging(TypedDict):
    clock: Clock
    expectations: Expectations


class _Reaching(_Judging):
    lookups: Lookups


class _Securing(_Judging):
    contexts: ProbeTLSContexts


def _push(settings: PushProbeSettings, making: _Making) -> Probe:
    silence_s = settings.max_silence or 2 * making.interval_s
    return PushProbe(making.name, making.parts.inbox, max_silence_s=silence_s)


def _dns(settings: DNSProbeSettings, making: _Making) -> Probe:
    from service.health.probes.dns import DNSProbe

    return DNSProbe(settings, **making.reaching)


def _smtp(settings: SMTPProbeSettings, making: _Making) -> Probe:
    from service.health.probes.smtp import SMTPProbe

    return SMTPProbe(settings, lookups=making.parts.pool.lookups, **making.securing)


def _sql(settings: SQLProbeSettings, making: _Making) -> Probe:
    from service.health.probes.sql import SQLProbe

    return SQLProbe(settings, **making.reaching)


def _redis(settings: RedisProbeSettings, making: _Making) -> Probe:
    from service.health.probes.redis import RedisProbe

    return RedisProbe(settings, lookups=making.parts.pool.lookups, **making.securing)


def _grpc(settings: GRPCProbeSettings, making: _Making) -> Probe:
    from service.health.probes.grpc import GRPCProbe

    return GRPCProbe(settings, **making.judging)


def _command(settings: CommandProbeSettings, making: _Making) -> Probe:
    environment = making.parts.environment
    return CommandProbe(settings, environment=environment, **making.judging)


_MAKERS: Final[Mapping[str, Callable[[Any, _Making], Probe]]] = MappingProxyType(
    {
        "http": lambda settings, making: HTTPProbe(settings, making.parts.pool, **making.securing),
        "tcp": lambda settings, making: TCPProbe(settings, **making.reaching),
        "tls": lambda settings, making: TLSProbe(
            settings, lookups=making.parts.pool.lookups, **making.securing
        ),
        "dns": _dns,
        "icmp": lambda settings, making: ICMPProbe(settings, **making.reaching),
        "websocket": lambda settings, making: WebSocketProbe(
            settings, lookups=making.parts.pool.lookups, **making.securing
        ),
        "grpc": _grpc,
        "redis": _redis,
        "sql": _sql,
        "smtp": _smtp,
        "command": _command,
        "push": _push,
    }
)
