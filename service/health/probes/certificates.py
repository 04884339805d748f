"""What the certificates of a TLS connection say."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from service.health.probes import attributes as names
from service.health.state import AttributeValue
from service.pools.request_record import TLSRecord


def tls_attributes(record: TLSRecord | None) -> dict[str, AttributeValue]:
    """Return what is known of a TLS connection; nothing without one.

    The expiry is that of the certificate that expires first, whichever of the chain it is.
    """
    if record is None:
        return {}
    found: dict[str, AttributeValue] = {
        names.TLS_VERSION: record.version,
        names.TLS_CIPHER: record.cipher,
        names.HANDSHAKE_S: record.handshake_s,
    }
    try:
        chain = [x509.load_der_x509_certificate(each) for each in record.chain]
    except ValueError:  # the library is stricter than OpenSSL, which has accepted them
        return found
    if chain:
        leaf = chain[0]
        found |= {
            names.TLS_SUBJECT: _name(leaf.subject),
            names.TLS_ISSUER: _name(leaf.issuer),
            names.TLS_HASH: leaf.fingerprint(SHA256()).hex().upper(),
            names.CERTIFICATE_NOT_BEFORE: leaf.not_valid_before_utc.timestamp(),
            names.CERTIFICATE_NOT_AFTER: min(
                each.not_valid_after_utc.timestamp() for each in chain
            ),
        }
    return found


def expires_in_s(attributes: Mapping[str, AttributeValue], now_s: float) -> float | None:
    """Return the seconds until a certificate of a connection expires; None without one."""
    not_after = attributes.get(names.CERTIFICATE_NOT_AFTER)
    return None if not isinstance(not_after, int | float) else not_after - now_s


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
