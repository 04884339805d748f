"""Mail by SMTP."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import aiosmtplib

from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.secret import Secret
from alerts.notify.tls import TLSContexts
from alerts.notify.transport import TLSOptions, TransportError

_LOG: Final = logging.getLogger(__name__)
_LOCAL: Final = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that takes mail.

    Attributes:
        host: Its name or address.
        port: Its port.
        hello: What this machine calls itself; empty: its name.
        encryption: ``implicit`` TLS from the start, ``required`` STARTTLS, or ``none``.
        tls: Options of TLS.
        username: Who sends; empty: no login.
        password: For the mechanisms PLAIN and LOGIN.
        secret: For CRAM-MD5.
        identity: For PLAIN, on whose behalf.
    """

    host: str
    port: int
    hello: str = ""
    encryption: Literal["implicit", "required", "none"] = "required"
    tls: TLSOptions = field(default_factory=TLSOptions)
    username: str = ""
    password: Secret | None = None
    secret: Secret | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message.

    Attributes:
        sender: Address it comes from.
        recipients: Addresses it goes to.
        content: The message with its header fields.
        timeout_s: Longest wait, from connecting to the end, in seconds.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    timeout_s: float = 30.0


class MailTransport(Protocol):
    """Sends mail."""

    async def send(self, server: MailServer, mail: Mail) -> str:
        """Hand a message to a server and return what it said.

        Raises:
            DeliveryError: It did not take it, for nobody.
        """


class SMTPTransport:
    """Sends mail by SMTP, with a connection for each message."""

    def __init__(self) -> None:
        self._contexts = TLSContexts()

    async def send(self, server: MailServer, mail: Mail) -> str:
        """Hand a message to a server and return what it said.

        Raises:
            DeliveryError: It did not take it, for nobody.
        """
        try:
            async with asyncio.timeout(mail.timeout_s):
                return await self._send(server, mail)
        except TransportError as error:
            raise DeliveryError(str(error), FailureReason.CONFIGURATION) from None
        except TimeoutError:
            message = f"{server.host}:{server.port} took longer than {mail.timeout_s:g} s"
            raise DeliveryError(message, FailureReason.TIMEOUT) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error.code, error.message) from None
        except aiosmtplib.SMTPNotSupported as error:
            raise DeliveryError(str(error), FailureReason.REFUSED, permanent=True) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise DeliveryError(f"no connection: {error}", FailureReason.NETWORK) from None

    async def _send(self, server: MailServer, mail: Mail) -> str:
        client = await self._connected(server, mail.timeout_s)
        try:
            if server.encryption == "required":
                await self._start_tls(client, server)
            await _log_in(client, server)
            said = await _hand_over(client, mail)
            await _quit(client)
        finally:
            client.close()
        return said

    async def _connected(self, server: MailServer, timeout_s: float) -> aiosmtplib.SMTP:
        is_implicit = server.encryption == "implicit"
        context = await self._context(server) if is_implicit else None
        name = server.tls.server_name
        # Only for a socket of ours a name other than the host's can be asked for.
        own = await _connect(server.host, server.port) if is_implicit and name else None
        client = aiosmtplib.SMTP(
            hostname=name if own is not None else server.host,
            port=None if own is not None else server.port,
            local_hostname=server.hello or None,
            timeout=timeout_s,
            use_tls=is_implicit,
            start_tls=False,
            tls_context=context,
            sock=own,
        )
        await client.connect()
        return client

    async def _context(self, server: MailServer) -> ssl.SSLContext:
        return await asyncio.to_thread(self._contexts.context, server.tls)

    async def _start_tls(self, client: aiosmtplib.SMTP, server: MailServer) -> None:
        await client.ehlo()
        if not client.supports_extension("starttls"):
            message = (
                f"{server.host}:{server.port} does not offer STARTTLS, which require_tls asks for"
            )
            raise DeliveryError(message, FailureReason.REFUSED)
        await client.starttls(
            tls_context=await self._context(server),
            server_hostname=server.tls.server_name or server.host,
        )


async def _connect(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        found = socket.socket(family, kind, protocol)
        found.setblocking(False)
        try:
            await loop.sock_connect(found, address)
        except OSError as error:
            found.close()
            failure = error
        except BaseException:
            found.close()
            raise
        else:
            return found
    raise failure


async def _log_in(client: aiosmtplib.SMTP, server: MailServer) -> None:
    if not server.username:
        return
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    offered = {method.lower() for method in client.supported_auth_methods}
    if not offered:
        return  # as Alertmanager: a server that asks for no login gets none
    if "cram-md5" in offered and server.secret is not None:
        await client.auth_crammd5(server.username, server.secret.reveal())
        return
    if server.password is None:
        message = "the server asks for a password, and auth_password is not set"
        raise DeliveryError(message, FailureReason.REFUSED, permanent=True)
    if client.get_transport_info("sslcontext") is None and server.host not in _LOCAL:
        message = "a password is not sent over a connection without TLS; set require_tls"
        raise DeliveryError(message, FailureReason.REFUSED, permanent=True)
    password = server.password.reveal()
    if "plain" in offered:
        whole = f"{server.identity}\0{server.username}\0{password}".encode()
        code, text = await client.execute_command(b"AUTH", b"PLAIN", base64.b64encode(whole))
        if code != aiosmtplib.SMTPStatus.auth_successful:
            raise aiosmtplib.SMTPAuthenticationError(code, text)
    elif "login" in offered:
        await client.auth_login(server.username, password)
    else:
        message = f"the server takes none of CRAM-MD5, PLAIN and LOGIN, but {sorted(offered)}"
        raise DeliveryError(message, FailureReason.REFUSED, permanent=True)


async def _hand_over(client: aiosmtplib.SMTP, mail: Mail) -> str:
    try:
        refused, said = await client.sendmail(mail.sender, list(mail.recipients), mail.content)
    except aiosmtplib.SMTPRecipientsRefused as error:
        first = error.recipients[0]
        raise _refused(first.code, f"{first.message} ({first.recipient})") from None
    for recipient, answer in refused.items():
        # The others have got it; sending it again would only tell them twice.
        _LOG.error("mail for %s was refused: %s %s", recipient, answer.code, answer.message)
    return said


async def _quit(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit()
    except aiosmtplib.SMTPException as error:
        # The message was taken; how the server says goodbye changes nothing.
        _LOG.debug("the mail server did not say goodbye: %s", error)


def _refused(code: int, text: str) -> DeliveryError:
    """Return the error of an answer: 4yz may be otherwise later, 5yz stays (RFC 5321, 4.2.1)."""
    shown = " ".join(text.split())[:200]
    is_permanent = code >= 500
    reason = FailureReason.REFUSED if is_permanent else FailureReason.SERVER_ERROR
    return DeliveryError(f"the answer was {code}: {shown}", reason, permanent=is_permanent)
