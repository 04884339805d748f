"""The names of what probes find: those of OpenTelemetry's conventions where it has one.

Durations are seconds, points in time Unix seconds.
"""

from __future__ import annotations

from typing import Final

STATUS: Final = "http.response.status_code"
BODY_SIZE: Final = "http.response.body.size"
HTTP_VERSION: Final = "network.protocol.version"
REDIRECTS: Final = "http.request.redirect_count"
ADDRESS: Final = "network.peer.address"

RESOLVE_S: Final = "dns.lookup.duration"
CONNECT_S: Final = "tcp.connect.duration"
HANDSHAKE_S: Final = "tls.handshake.duration"
PROCESSING_S: Final = "http.processing.duration"
TRANSFER_S: Final = "http.transfer.duration"
ROUND_TRIP_S: Final = "icmp.round_trip.duration"

TLS_VERSION: Final = "tls.protocol.version"
TLS_CIPHER: Final = "tls.cipher"
TLS_SUBJECT: Final = "tls.server.subject"
TLS_ISSUER: Final = "tls.server.issuer"
TLS_HASH: Final = "tls.server.hash.sha256"
CERTIFICATE_NOT_AFTER: Final = "tls.server.certificate.not_after"
"""When the first certificate of the chain expires."""
CERTIFICATE_NOT_BEFORE: Final = "tls.server.certificate.not_before"

DNS_RCODE: Final = "dns.response_code"
DNS_ANSWERS: Final = "dns.answer.count"
DNS_AUTHORITIES: Final = "dns.authority.count"
DNS_ADDITIONAL: Final = "dns.additional.count"

GRPC_STATUS: Final = "rpc.grpc.status_code"
GRPC_SERVING: Final = "grpc.health.status"
EXIT_CODE: Final = "process.exit.code"
PUSHED_DURATION_S: Final = "push.duration"
PUSH_AGE_S: Final = "push.age"
