"""The DNS probe: a name resolves, to what it should."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver

from alerts.clock import Clock
from service.config.addresses import split_address
from service.config.network_probe_settings import DNSProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes import attributes as names
from service.health.probes.connecting import resolve
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult
from service.pools.lookups import Lookups

_SHOWN = 3
_SHARE_OF_TIMEOUT = 0.9


class DNSProbe:
    """Asks a server; works if the answer is ``NOERROR`` and holds what is expected."""

    def __init__(
        self,
        settings: DNSProbeSettings,
        *,
        clock: Clock,
        lookups: Lookups,
        expectations: Expectations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lookups = lookups
        self._expectations = expectations

    @property
    def target(self) -> str:
        """Return what is asked, and whom."""
        settings = self._settings
        at = f" @{settings.server}" if settings.server else ""
        return f"dns {settings.query_type} {settings.query_name}{at}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ask once."""
        return await judged_run(
            lambda run: self._look(run, timeout_s),
            clock=self._clock,
            timeout_s=timeout_s,
            expectations=self._expectations,
        )

    async def _look(self, run: Run, timeout_s: float) -> str:
        settings = self._settings
        question = dns.message.make_query(
            dns.name.from_text(settings.query_name),
            dns.rdatatype.from_text(settings.query_type),
            use_edns=0,
        )
        servers, port = await self._servers(run)
        for host in servers:
            started_s = self._clock.monotonic()
            try:
                answer = await self._ask(question, host, port, timeout_s / len(servers))
            except dns.exception.Timeout:
                continue  # to the next server, as every resolver does
            except dns.exception.DNSException as error:
                reason = f"the answer is not DNS: {type(error).__name__}: {error}"
                raise ProbeError(Fault(reason, "protocol")) from error
            run.attributes[names.RESOLVE_S] = self._clock.monotonic() - started_s
            run.connected, run.address = True, host
            return self._judge(run, answer)
        reason = f"no answer from {' or '.join(servers)}"
        raise ProbeError(Fault(reason, "timeout", Placeholder.CONNECTED))

    async def _ask(
        self, question: dns.message.QueryMessage, host: str, port: int, timeout_s: float
    ) -> dns.message.Message:
        limit_s = timeout_s * _SHARE_OF_TIMEOUT
        if self._settings.transport == "tcp":
            return await dns.asyncquery.tcp(question, host, limit_s, port)
        answer, _ = await dns.asyncquery.udp_with_fallback(question, host, limit_s, port)
        return answer

    async def _servers(self, run: Run) -> tuple[list[str], int]:
        """Return the addresses of the servers to ask one after the other, and their port."""
        if self._settings.server:
            host, port = split_address(self._settings.server, 53)
            addresses = await resolve(run, self._lookups, host, port)
            return [str(addresses[0][4][0])], port
        try:
            resolver = await asyncio.to_thread(dns.resolver.Resolver)
        except (dns.resolver.NoResolverConfiguration, OSError) as error:
            reason = "this machine has no DNS server configured; set server"
            raise ProbeError(Fault(reason, "configuration")) from error
        return [str(each) for each in resolver.nameservers], resolver.port

    def _judge(self, run: Run, answer: dns.message.Message) -> str:
        settings = self._settings
        rcode = dns.rcode.to_text(answer.rcode())
        kind = dns.rdatatype.from_text(settings.query_type)
        answers = sorted(
            record.to_text() for rrset in answer.answer if rrset.rdtype == kind for record in rrset
        )
        run.dns_rcode = rcode
        run.body = "\n".join(answers).encode()
        run.attributes |= {
            names.ADDRESS: run.address,
            names.DNS_RCODE: rcode,
            names.DNS_ANSWERS: _count(answer.answer),
            names.DNS_AUTHORITIES: _count(answer.authority),
            names.DNS_ADDITIONAL: _count(answer.additional),
        }
        if rcode != "NOERROR":
            raise ProbeError(Fault(f"the answer is {rcode}", "rcode", Placeholder.DNS_RCODE))
        if not answers:
            reason = f"{settings.query_name} has no {settings.query_type} record"
            raise ProbeError(Fault(reason, "answer", Placeholder.BODY))
        shown = ", ".join(answers[:_SHOWN])
        if settings.expect and not set(settings.expect) & set(answers):
            reason = f"got {shown}, expected {' or '.join(settings.expect)}"
            raise ProbeError(Fault(reason, "answer"))
        return shown


def _count(section: list[dns.rrset.RRset]) -> int:
    return sum(len(rrset) for rrset in section)
