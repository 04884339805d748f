"""Makes the probe that the settings of a check ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alerts.clock import Clock
from service.config.health_settings import CheckSettings
from service.health.conditions.parser import parse_condition
from service.health.probes.dns import DNSProbe
from service.health.probes.http import HTTPProbe
from service.health.probes.outcome import Expectations
from service.health.probes.push import PushProbe
from service.health.probes.tcp import TCPProbe
from service.health.probes.tls import TLSProbe
from service.health.probes.tls_contexts import ProbeTLSContexts
from service.health.pushes import PushInbox
from service.pools.http import HTTPConnectionPool

if TYPE_CHECKING:
    from service.health.checks import Probe


@dataclass(frozen=True, slots=True)
class ProbeParts:
    """What probes work with.

    Attributes:
        pool: Outgoing HTTP.
        clock: Time.
        inbox: What things that report by themselves have said.
        contexts: TLS.
    """

    pool: HTTPConnectionPool
    clock: Clock
    inbox: PushInbox
    contexts: ProbeTLSContexts = field(default_factory=ProbeTLSContexts)


def make_probe(check: CheckSettings, parts: ProbeParts, *, interval_s: float) -> Probe:
    """Return the probe of a check.

    Args:
        check: Its settings, with exactly one kind of probe.
        parts: What probes work with.
        interval_s: How often the check runs.
    """
    clock = parts.clock
    expected = Expectations(tuple(parse_condition(text) for text in check.conditions))
    if check.http is not None:
        return HTTPProbe(
            check.http, parts.pool, clock=clock, contexts=parts.contexts, expectations=expected
        )
    if check.tcp is not None:
        return TCPProbe(check.tcp, clock=clock, expectations=expected)
    if check.tls is not None:
        return TLSProbe(check.tls, clock=clock, contexts=parts.contexts, expectations=expected)
    if check.dns is not None:
        return DNSProbe(check.dns, clock=clock, expectations=expected)
    if check.push is not None:
        silence_s = check.push.max_silence or 2 * interval_s
        return PushProbe(check.name, parts.inbox, max_silence_s=silence_s)
    raise AssertionError(f"the check {check.name} has no probe")  # settings have made sure
