"""Metrics of what probes find, named as blackbox_exporter names them.

Source: blackbox_exporter, prober/*.go. A finding that it has no name for has one of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alerts.telemetry import InstrumentDefinition


@dataclass(frozen=True, slots=True)
class ProbeMetric:
    """A metric that shows one attribute of the last result of checks.

    Attributes:
        attribute: The attribute.
        definition: The metric.
        phase: Value of the label ``phase``, for metrics that several attributes share.
        label: The label that has the attribute's value, for metrics whose own value is always 1.
    """

    attribute: str
    definition: InstrumentDefinition
    phase: str = ""
    label: str = ""


def _define(name: str, unit: str, description: str, *attributes: str) -> InstrumentDefinition:
    return InstrumentDefinition("gauge", name, unit, description, ("check", "group", *attributes))


CERTIFICATE_EXPIRY: Final = _define(
    "probe_ssl_earliest_cert_expiry",
    "",
    "When the certificate that the last run of a check saw expires, in Unix seconds.",
)
DNS_LOOKUP_TIME: Final = _define(
    "probe_dns_lookup_time", "s", "How long the last run of a check took to resolve the name."
)
HTTP_DURATION: Final = _define(
    "probe_http_duration", "s", "Duration of the last HTTP request of a check by phase.", "phase"
)
HTTP_REDIRECTS: Final = _define(
    "probe_http_redirects", "", "Redirects the last run of a check followed."
)
HTTP_CONTENT_LENGTH: Final = _define(
    "probe_http_content_length", "", "Bytes of the body the last run of a check received."
)
ICMP_DURATION: Final = _define(
    "probe_icmp_duration", "s", "Duration of the last ping of a check by phase.", "phase"
)
DNS_ANSWERS: Final = _define(
    "probe_dns_answer_rrs", "", "Records in the answer section of the last DNS answer."
)
DNS_AUTHORITIES: Final = _define(
    "probe_dns_authority_rrs", "", "Records in the authority section of the last DNS answer."
)
DNS_ADDITIONAL: Final = _define(
    "probe_dns_additional_rrs", "", "Records in the additional section of the last DNS answer."
)
TLS_VERSION: Final = _define(
    "probe_tls_version_info", "", "The TLS version of the last run of a check; always 1.", "version"
)
GRPC_STATUS: Final = _define(
    "probe_grpc_status_code", "", "The gRPC status the last run of a check received."
)
PUSH_AGE: Final = _define(
    "gateway.health.push.age", "s", "How long ago the checked thing called in, at the last run."
)

PROBE_METRICS: Final = (
    ProbeMetric("tls.server.certificate.not_after", CERTIFICATE_EXPIRY),
    ProbeMetric("dns.lookup.duration", DNS_LOOKUP_TIME),
    ProbeMetric("http.request.redirect_count", HTTP_REDIRECTS),
    ProbeMetric("http.response.body.size", HTTP_CONTENT_LENGTH),
    ProbeMetric("icmp.round_trip.duration", ICMP_DURATION, phase="rtt"),
    ProbeMetric("dns.answer.count", DNS_ANSWERS),
    ProbeMetric("dns.authority.count", DNS_AUTHORITIES),
    ProbeMetric("dns.additional.count", DNS_ADDITIONAL),
    ProbeMetric("tls.protocol.version", TLS_VERSION, label="version"),
    ProbeMetric("rpc.grpc.status_code", GRPC_STATUS),
    ProbeMetric("push.age", PUSH_AGE),
)
"""What attributes become; those of HTTP phases are in ``HTTP_PHASES``."""

HTTP_PHASES: Final = (
    ProbeMetric("dns.lookup.duration", HTTP_DURATION, phase="resolve"),
    ProbeMetric("tcp.connect.duration", HTTP_DURATION, phase="connect"),
    ProbeMetric("tls.handshake.duration", HTTP_DURATION, phase="tls"),
    ProbeMetric("http.processing.duration", HTTP_DURATION, phase="processing"),
    ProbeMetric("http.transfer.duration", HTTP_DURATION, phase="transfer"),
)
"""What attributes become of results that have an HTTP status."""

PROBE_DEFINITIONS: Final = tuple(
    dict.fromkeys(metric.definition for metric in (*PROBE_METRICS, *HTTP_PHASES))
)
"""Every definition above; which of them have values depends on what checks look at."""
