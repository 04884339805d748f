"""Where the time of one request went, and what its TLS connection was like.

aiohttp tells when a name is looked up and when a connection is there (``TraceConfig``), and nothing
of the handshake in between. That is seen by the context's ``sslobject_class``, which may be the
connection's own: the record of the request it is made for comes along in a variable, as the connect
call and all callbacks it causes run in one context.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from alerts.clock import Clock


@dataclass(slots=True)
class TLSRecord:
    """A TLS connection.

    Attributes:
        version: Such as ``TLSv1.3``.
        cipher: Such as ``TLS_AES_256_GCM_SHA384``.
        chain: What the server sent, its own certificate first; DER.
        handshake_s: How long the handshake took, in seconds.
    """

    version: str = ""
    cipher: str = ""
    chain: tuple[bytes, ...] = ()
    handshake_s: float = 0.0


@dataclass(slots=True)
class RequestRecord:
    """A request, redirects included; times are seconds and add up over them.

    Attributes:
        clock: Measures them.
        resolve_s: Looking up names.
        connect_s: Until TCP connections were there.
        handshake_s: TLS handshakes.
        processing_s: From a connection to the header of the answer.
        redirects: How many were followed.
        address: The address that answered last.
        http_version: Of the answer, such as ``1.1``.
        tls: The last TLS connection; None without one.
    """

    clock: Clock
    resolve_s: float = 0.0
    connect_s: float = 0.0
    handshake_s: float = 0.0
    processing_s: float = 0.0
    redirects: int = 0
    address: str = ""
    http_version: str = ""
    tls: TLSRecord | None = None

    def shook_hands(self, record: TLSRecord) -> None:
        """Note a handshake that ended."""
        self.tls = record
        self.handshake_s += record.handshake_s


CURRENT_RECORD: ContextVar[RequestRecord | None] = ContextVar(
    "gatewatch_http_request_record", default=None
)


class RecordingSSLObject(ssl.SSLObject):
    """Times its handshake and keeps what the server showed; for ``SSLContext.sslobject_class``."""

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        state = self.__dict__  # the base makes objects without __init__
        if "_record" not in state:
            record = state["_record"] = CURRENT_RECORD.get()
            state["_since_s"] = 0.0 if record is None else record.clock.monotonic()
        super().do_handshake()
        request: RequestRecord | None = state["_record"]
        if request is not None:
            state["_record"] = None
            handshake_s = request.clock.monotonic() - state["_since_s"]
            request.shook_hands(tls_record(self, handshake_s))


def tls_record(connection: ssl.SSLObject, handshake_s: float) -> TLSRecord:
    """Return what an established connection is like."""
    cipher = connection.cipher()
    return TLSRecord(
        version=connection.version() or "",
        cipher=cipher[0] if cipher is not None else "",
        chain=_chain(connection),
        handshake_s=handshake_s,
    )


def _chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    # Public from Python 3.13 on; until then the object underneath has it, and gives no DER itself.
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:
        return tuple(public())
    inner = getattr(connection, "_sslobj", None)
    certificates = inner.get_unverified_chain() if inner is not None else None
    if certificates:
        return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in certificates)
    leaf = connection.getpeercert(binary_form=True)
    return () if leaf is None else (leaf,)


def request_phases() -> aiohttp.TraceConfig:
    """Return signals that fill in the records of requests, all of which have one."""
    config = aiohttp.TraceConfig()
    config.on_dns_resolvehost_start.append(_resolving)
    config.on_dns_resolvehost_end.append(_resolved)
    config.on_connection_create_start.append(_connecting)
    config.on_connection_create_end.append(_connected)
    config.on_request_redirect.append(_redirected)
    config.on_request_end.append(_answered)
    return config


def _record(context: SimpleNamespace) -> RequestRecord:
    record: RequestRecord = context.trace_request_ctx.record
    return record


async def _resolving(_session: object, context: SimpleNamespace, _params: object) -> None:
    context.resolving_since_s = _record(context).clock.monotonic()


async def _resolved(_session: object, context: SimpleNamespace, _params: object) -> None:
    record = _record(context)
    record.resolve_s += record.clock.monotonic() - context.resolving_since_s


async def _connecting(_session: object, context: SimpleNamespace, _params: object) -> None:
    record = _record(context)
    context.connecting_since_s = record.clock.monotonic()
    context.others_before_s = record.resolve_s + record.handshake_s


async def _connected(_session: object, context: SimpleNamespace, _params: object) -> None:
    record = _record(context)
    now_s = context.processing_since_s = record.clock.monotonic()
    others_s = record.resolve_s + record.handshake_s - context.others_before_s
    record.connect_s += max(0.0, now_s - context.connecting_since_s - others_s)


async def _redirected(_session: object, context: SimpleNamespace, _params: object) -> None:
    _record(context).redirects += 1
    await _answered(_session, context, _params)


async def _answered(_session: object, context: SimpleNamespace, _params: object) -> None:
    record = _record(context)
    record.processing_s += record.clock.monotonic() - context.processing_since_s
