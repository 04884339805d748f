"""How protocols are asked to go on with TLS: SMTP (RFC 3207), IMAP (RFC 9051), POP3 (RFC 2595)."""

from __future__ import annotations

import asyncio
from typing import Literal

from service.health.probes.outcome import Fault
from service.health.probes.run import ProbeError

StartTLSProtocol = Literal["smtp", "imap", "pop3"]

_MAX_LINES = 100
_SHOWN = 60


async def ask_for_tls(
    protocol: StartTLSProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take the greeting and ask for TLS; the handshake comes next.

    Raises:
        ProbeError: The server does not want to, or does not speak the protocol.
        OSError: The connection broke.
    """
    match protocol:
        case "smtp":
            await _reply(reader, b"220")
            writer.write(b"EHLO gatewatch\r\n")
            await _reply(reader, b"250")
            writer.write(b"STARTTLS\r\n")
            await _reply(reader, b"220")
        case "imap":
            await _reply(reader, b"* OK")
            writer.write(b"a STARTTLS\r\n")
            await _reply(reader, b"a OK", skipped=b"* ")
        case "pop3":
            await _reply(reader, b"+OK")
            writer.write(b"STLS\r\n")
            await _reply(reader, b"+OK")


async def _reply(reader: asyncio.StreamReader, wanted: bytes, skipped: bytes = b"") -> None:
    """Read a reply of one line or several, of which the last has no dash behind its code."""
    for _ in range(_MAX_LINES):
        try:
            line = await reader.readline()
        except ValueError as error:  # a line without end
            raise ProbeError(Fault("the server sends a line without end", "answer")) from error
        if not line.endswith(b"\n"):
            raise EOFError
        if skipped and line.startswith(skipped):
            continue
        if not line.upper().startswith(wanted.upper()):
            got = line[:_SHOWN].decode(errors="replace").strip()
            reason = f"the server does not go on with TLS: it says {got!r}"
            raise ProbeError(Fault(reason, "answer"))
        if not line.startswith(b"-", len(wanted)):
            return
    raise ProbeError(Fault("the server sends a reply without end", "answer"))
