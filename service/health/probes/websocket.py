"""The WebSocket probe: it opens, and perhaps answers, or lets a client of Centrifugo in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from alerts.clock import Clock
from service import __version__
from service.codec import JSONError, decode, encode
from service.config.hiding import is_telling
from service.config.network_probe_settings import WebSocketProbeSettings
from service.health.conditions.findings import Placeholder
from service.health.probes import attributes as names
from service.health.probes.certificates import tls_attributes
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.probes.tls_contexts import ProbeTLSContexts
from service.health.state import ProbeResult
from service.pools.http_tracing import shown_url
from service.pools.lookups import LookupResolver, Lookups
from service.pools.request_record import CURRENT_RECORD, RequestRecord

MAX_MESSAGE_BYTES = 1024 * 1024
"""Largest message that is taken."""

_SHOWN = 60
_CLOSING = frozenset((aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED))


class WebSocketProbe:
    """Opens a WebSocket; sends and waits for a message if the settings have one."""

    def __init__(
        self,
        settings: WebSocketProbeSettings,
        *,
        clock: Clock,
        lookups: Lookups,
        contexts: ProbeTLSContexts,
        expectations: Expectations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lookups = lookups
        self._contexts = contexts
        self._url = URL(settings.url)
        secrets = [value for name, value in settings.headers.items() if is_telling(name)]
        if settings.centrifuge_token is not None:
            secrets.append(settings.centrifuge_token.get_secret_value())
        self._expectations = Expectations(expectations.conditions, tuple(filter(None, secrets)))

    @property
    def target(self) -> str:
        """Return the URL, without credentials and query."""
        return shown_url(self._url)

    async def run(self, timeout_s: float) -> ProbeResult:
        """Open it once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        settings = self._settings
        async with self._opened(run) as socket:
            if settings.centrifuge:
                return await self._connect_client(run, socket)
            if settings.send:
                await socket.send_str(settings.send)
            if settings.expect or self._expectations.mention(Placeholder.BODY):
                await self._receive(run, socket)
                if settings.expect.encode() not in run.body:
                    got = run.body[:_SHOWN].decode(errors="replace")
                    reason = f"{settings.expect[:_SHOWN]!r} is not in the message {got!r}"
                    raise ProbeError(Fault(reason, "answer"))
            return f"open, {socket.protocol}" if socket.protocol else "open"

    @asynccontextmanager
    async def _opened(self, run: Run) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        settings = self._settings
        context = await self._contexts.context(settings.tls)
        record = RequestRecord(self._clock)
        token = CURRENT_RECORD.set(record)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                force_close=True, use_dns_cache=False, resolver=LookupResolver(self._lookups)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"gatewatch/{__version__}"},
        )
        try:
            async with session:
                socket = await session.ws_connect(
                    self._url,
                    headers=settings.headers,
                    protocols=settings.subprotocols,
                    ssl=context,
                    server_hostname=settings.tls.server_name or None,
                    max_msg_size=MAX_MESSAGE_BYTES,
                )
                self._note(run, socket, record)
                try:
                    yield socket
                finally:
                    await socket.close()
        except aiohttp.WSServerHandshakeError as error:
            run.connected, run.status = True, error.status
            reason = f"status {error.status} instead of 101: {error.message}"
            raise ProbeError(Fault(reason, "handshake", Placeholder.STATUS)) from error
        except aiohttp.ClientConnectorDNSError as error:
            reason = f"the name does not resolve: {error.os_error.strerror or error.os_error}"
            raise ProbeError(Fault(reason, "dns", Placeholder.CONNECTED)) from error
        except aiohttp.ClientSSLError as error:
            raise ProbeError(
                Fault(f"no TLS connection: {error.os_error}", "tls", Placeholder.CONNECTED)
            ) from error
        except aiohttp.ClientConnectorError as error:
            reason = f"no connection: {error.os_error.strerror or error.os_error}"
            raise ProbeError(Fault(reason, "connect", Placeholder.CONNECTED)) from error
        except aiohttp.ClientError as error:
            about = None if run.connected else Placeholder.CONNECTED
            reason = f"the connection broke: {type(error).__name__}"
            raise ProbeError(Fault(reason, "disconnected", about)) from error
        finally:
            CURRENT_RECORD.reset(token)

    def _note(
        self, run: Run, socket: aiohttp.ClientWebSocketResponse, record: RequestRecord
    ) -> None:
        peer = socket.get_extra_info("peername")
        run.connected, run.status = True, 101
        run.attributes |= {names.STATUS: 101, **tls_attributes(record.tls)}
        if peer:
            run.address = str(peer[0])
            run.attributes[names.ADDRESS] = run.address

    async def _receive(self, run: Run, socket: aiohttp.ClientWebSocketResponse) -> None:
        message = await socket.receive()
        if message.type in _CLOSING:
            code = socket.close_code
            reason = f"closed with code {code}"
            if message.extra:
                reason += f": {str(message.extra)[:_SHOWN]}"
            raise ProbeError(Fault(reason, "closed"))
        if message.type is aiohttp.WSMsgType.ERROR:
            reason = f"a message that cannot be taken: {message.data}"
            raise ProbeError(Fault(reason, "protocol"))
        run.body = message.data.encode() if isinstance(message.data, str) else message.data

    async def _connect_client(self, run: Run, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Send the command ``connect`` of Centrifugo's client protocol and read its reply."""
        token = self._settings.centrifuge_token
        connect = {} if token is None else {"token": token.get_secret_value()}
        await socket.send_str(encode({"id": 1, "connect": connect}).decode())
        await self._receive(run, socket)
        try:
            reply = decode(run.body.partition(b"\n")[0])
        except JSONError:
            reply = None
        if not isinstance(reply, dict) or not {"connect", "error"} & reply.keys():
            raise ProbeError(Fault("the answer is not one of the Centrifuge protocol", "protocol"))
        if "error" in reply:
            error = reply["error"] if isinstance(reply["error"], dict) else {}
            reason = f"connect is refused: {error.get('code')} {error.get('message')}"
            raise ProbeError(Fault(reason, "refused"))
        connected = reply["connect"] if isinstance(reply["connect"], dict) else {}
        return f"connected to {connected.get('version') or 'a server'}"
