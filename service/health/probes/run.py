"""One run of a probe that talks over a connection: what it collects, and what errors mean."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from alerts.clock import Clock
from alerts.durations import format_duration
from alerts.notify.transport import TransportError
from service.deadline import Deadline
from service.errors import GatewatchError
from service.health.conditions.findings import Findings, Placeholder
from service.health.probes.certificates import expires_in_s
from service.health.probes.outcome import Expectations, Fault
from service.health.state import AttributeValue, ProbeResult

# A run ends a little before its check's time is over, so that it can still say how far it came.
_SHARE_OF_TIMEOUT = 0.95


class ProbeError(GatewatchError):
    """Ends a run with what is wrong.

    Attributes:
        fault: What is wrong.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.reason)


@dataclass(slots=True)
class Run:
    """What a run has found so far.

    Attributes:
        clock: Time.
        started_s: When it began, in monotonic seconds.
        attributes: Findings for the result.
        connected: Whether there is a connection, or an answer.
        awaited: What a run that takes too long has waited for; empty: a connection, or an answer.
        address: Who answers.
        body: What came back.
        headers: Header fields of the answer.
        status: Status of the answer, where there is one.
        dns_rcode: Response code of a DNS answer.
    """

    clock: Clock
    started_s: float
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    connected: bool = False
    awaited: str = ""
    address: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    dns_rcode: str = ""

    def findings(self) -> Findings:
        """Return what conditions look at."""
        return Findings(
            connected=self.connected,
            response_time_s=self.clock.monotonic() - self.started_s,
            status=self.status,
            ip=self.address,
            body=self.body,
            headers=self.headers,
            certificate_expires_in_s=expires_in_s(self.attributes, self.clock.time()),
            dns_rcode=self.dns_rcode,
        )


async def judged_run(
    look: Callable[[Run], Awaitable[str]],
    *,
    clock: Clock,
    timeout_s: float,
    expectations: Expectations,
) -> ProbeResult:
    """Return the result of one look.

    Args:
        look: Fills in the run and returns a remark; may raise ``ProbeError``, ``OSError``,
            ``EOFError`` and ``TransportError``.
        clock: Time.
        timeout_s: How long the check may take.
        expectations: The check's conditions.
    """
    run = Run(clock, clock.monotonic())
    limit = Deadline(clock, timeout_s * _SHARE_OF_TIMEOUT)
    remark, fault = "", None
    try:
        async with limit:
            remark = await look(run)
    except ProbeError as failure:
        fault = failure.fault
    except TransportError as error:
        fault = Fault(str(error), "configuration")
    except TimeoutError as error:
        if limit.expired:
            awaited = run.awaited or ("complete answer" if run.connected else "connection")
            reason = f"no {awaited} within {format_duration(timeout_s)}"
            fault = Fault(reason, "timeout", None if run.connected else Placeholder.CONNECTED)
        else:
            fault = _fault(error, connected=run.connected)
    except (OSError, EOFError) as error:
        fault = _fault(error, connected=run.connected)
    return expectations.result(run.findings(), run.attributes, remark=remark, fault=fault)


def _fault(error: OSError | EOFError, *, connected: bool) -> Fault:
    about = None if connected else Placeholder.CONNECTED
    match error:
        case socket.gaierror():
            return Fault(f"the name does not resolve: {error.strerror}", "dns", about)
        case ssl.SSLCertVerificationError():
            return Fault(f"the certificate is refused: {error.verify_message}", "tls", about)
        case ssl.SSLError():
            return Fault(f"no TLS connection: {error.reason or error}", "tls", about)
        case asyncio.IncompleteReadError() | EOFError():
            return Fault("the connection was closed before the answer was complete", "disconnected")
        case _ if connected:
            return Fault(f"the connection broke: {_said(error)}", "disconnected")
        case _:
            return Fault(f"no connection: {_said(error)}", "connect", about)


def _said(error: OSError) -> str:
    """Return the system's words for an error, without the address that the target has already."""
    return os.strerror(error.errno) if error.errno else str(error)
