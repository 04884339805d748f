"""What a probe brings home, for conditions to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Placeholder(StrEnum):
    """What stands in a condition for something that was found."""

    STATUS = "[STATUS]"
    RESPONSE_TIME = "[RESPONSE_TIME]"
    IP = "[IP]"
    CONNECTED = "[CONNECTED]"
    BODY = "[BODY]"
    HEADER = "[HEADER]"
    CERTIFICATE_EXPIRATION = "[CERTIFICATE_EXPIRATION]"
    DNS_RCODE = "[DNS_RCODE]"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one run of a probe found out.

    Attributes:
        connected: Whether there was a connection, or for probes without one, an answer.
        response_time_s: From the beginning to the answer, in seconds.
        status: Status of the answer, a number; None where there is none.
        ip: Address that answered; empty when none did.
        body: What came back, as it came.
        headers: Header fields of the answer; names are matched in any case.
        certificate_expires_in_s: Seconds until the first certificate of the chain expires; None
            without TLS.
        dns_rcode: Response code of a DNS answer, such as NXDOMAIN.
    """

    connected: bool = False
    response_time_s: float = 0.0
    status: int | None = None
    ip: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate_expires_in_s: float | None = None
    dns_rcode: str = ""
