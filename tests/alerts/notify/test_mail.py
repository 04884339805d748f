"""Mail, against a real SMTP server on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from alerts.clock import ManualClock
from alerts.notify.channel import Channel
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.errors import DeliveryError, FailureReason
from tests.support.alerts import FakeTransport, make_notification
from tests.support.certificates import Certificates
from tests.support.channels import good_entry


class Mailbox:
    """Takes mail, unless ``refuse`` says otherwise."""

    def __init__(self) -> None:
        self.taken: list[tuple[Envelope, EmailMessage]] = []
        self.logins: list[tuple[str, bytes]] = []
        self.refuse: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take or refuse a recipient."""
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - as above
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take or refuse a message."""
        if "data" in self.refuse:
            return self.refuse["data"]
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.taken.append((envelope, message))
        return "250 taken"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        """Let one user in."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password))
        return AuthResult(success=data.password == b"P4SSW0RD", handled=False)


@asynccontextmanager
async def mail_server(
    *, context: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False
) -> AsyncIterator[tuple[Mailbox, int]]:
    """Run a mail server on a free port of loopback."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()

    made: list[SMTP] = []

    def protocol() -> SMTP:
        smtp = SMTP(
            mailbox,
            hostname="mail.test",
            tls_context=None if implicit else context,
            authenticator=mailbox.authenticate if auth else None,
            auth_require_tls=False,
            loop=loop,
        )
        made.append(smtp)
        return smtp

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if implicit else None)
    try:
        yield mailbox, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        for smtp in made:
            if smtp.transport is not None:
                smtp.transport.close()
        for _ in range(20):  # what the server still has to do about connections that are gone
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    """Certificates that nobody else trusts."""
    with made_certificates(tmp_path_factory.mktemp("pki")) as made:
        yield made


@contextmanager
def made_certificates(folder: Path) -> Iterator[Certificates]:
    """Make certificates in a folder."""
    yield Certificates.make(folder)


def channel(
    port: int, entry: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Channel:
    """Return a mail channel to a server."""
    whole = {
        "to": "Ops <ops@example.org>, boss@example.org",
        "from": "gatewatch@example.org",
        "smarthost": f"127.0.0.1:{port}",
        "require_tls": False,
        **entry,
    }
    clock = ManualClock()
    context = ChannelContext(FakeTransport(clock), clock, external_url="http://gatewatch.example")
    (made,) = build_channels("ops", [good_entry("email", whole)], context)
    return made


async def failure(made: Channel) -> DeliveryError:
    """Return why a mail is not taken."""
    with pytest.raises(DeliveryError) as caught:
        await made.deliver(make_notification())
    return caught.value


async def test_a_mail() -> None:
    """HTML and text, the header fields, and one message for all addresses."""
    headers = {"Reply-To": "team@example.org", "X-Status": "{{ .Status }}"}
    async with mail_server() as (mailbox, port):
        await channel(port, {"text": "{{ .Status }}: äöü", "headers": headers}).deliver(
            make_notification()
        )

    ((envelope, message),) = mailbox.taken
    assert envelope.rcpt_tos == ["ops@example.org", "boss@example.org"]
    assert envelope.mail_from == "gatewatch@example.org"
    assert message["Subject"] == "[FIRING:1] Down"
    assert message["Message-ID"] == "<n1@example.org>"
    assert (message["Reply-To"], message["X-Status"]) == ("team@example.org", "firing")
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert "<h2>[FIRING:1] Down</h2>" in html.get_content()
    assert text is not None
    assert text.get_content().strip() == "firing: äöü"


async def test_settings_of_global() -> None:
    """What is said once for all mail counts; a header field of the entry replaces one of ours."""
    defaults = {"smtp_from": "global@example.org", "smtp_require_tls": False}
    async with mail_server() as (mailbox, port):
        defaults["smtp_smarthost"] = f"127.0.0.1:{port}"
        config = good_entry("email", {"to": "a@b.c", "headers": {"subject": "S"}}, defaults)
        clock = ManualClock()
        context = ChannelContext(FakeTransport(clock), clock)
        (made,) = build_channels("ops", [config], context)
        await made.deliver(make_notification())

    ((envelope, message),) = mailbox.taken
    assert (envelope.mail_from, message["Subject"]) == ("global@example.org", "S")


async def test_threads() -> None:
    """All mail about a group hangs together, day by day unless that is not wanted."""
    async with mail_server() as (mailbox, port):
        await channel(port, {"threading": {"enabled": True}}).deliver(make_notification("n1"))
        one = {"enabled": True, "thread_by_date": "none"}
        await channel(port, {"threading": one}).deliver(make_notification("n2"))

    by_day, by_group = (message["References"] for _, message in mailbox.taken)
    assert by_day.endswith("-2023-11-14@example.org>")
    assert by_group.startswith(by_day.partition("-2023")[0])


async def test_starttls_and_login(certificates: Certificates) -> None:
    """TLS is begun and the certificate checked before the password is sent."""
    async with mail_server(context=certificates.server, auth=True) as (mailbox, port):
        entry = {
            "smarthost": f"localhost:{port}",
            "require_tls": True,
            "auth_username": "user",
            "auth_password": "P4SSW0RD",
            "tls_config": {"ca_file": certificates.ca_file},
        }
        await channel(port, entry).deliver(make_notification())
        unknown = await failure(channel(port, {**entry, "tls_config": {}}))
        wrong = await failure(channel(port, {**entry, "auth_password": "WR0NGPASS"}))

    assert len(mailbox.taken) == 1
    assert mailbox.logins[0] == ("user", b"P4SSW0RD")
    assert unknown.reason is FailureReason.NETWORK
    assert (wrong.reason, wrong.permanent) == (FailureReason.REFUSED, True)
    assert "WR0NGPASS" not in str(wrong)


@pytest.mark.parametrize("name", ["", "localhost"])
async def test_implicit_tls(certificates: Certificates, name: str) -> None:
    """TLS from the start, checked against the host's name or another that is given."""
    host = "127.0.0.1" if name else "localhost"
    tls = {"ca_file": certificates.ca_file, **({"server_name": name} if name else {})}
    async with mail_server(context=certificates.server, implicit=True) as (mailbox, port):
        entry = {"smarthost": f"{host}:{port}", "force_implicit_tls": True, "tls_config": tls}
        await channel(port, entry).deliver(make_notification())

    assert len(mailbox.taken) == 1


@pytest.mark.parametrize(
    ("refuse", "reason", "permanent"),
    [
        ({"data": "451 later"}, FailureReason.SERVER_ERROR, False),
        ({"data": "554 never"}, FailureReason.REFUSED, True),
        (
            {"ops@example.org": "550 unknown", "boss@example.org": "550 unknown"},
            FailureReason.REFUSED,
            True,
        ),
    ],
)
async def test_refusals(refuse: dict[str, str], reason: FailureReason, permanent: bool) -> None:
    """What may be otherwise later is tried again, what stays is not."""
    async with mail_server() as (mailbox, port):
        mailbox.refuse = refuse
        error = await failure(channel(port, {}))

    assert (error.reason, error.permanent) == (reason, permanent)


async def test_one_recipient_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Who can be told is told; who cannot is named in the log."""
    async with mail_server() as (mailbox, port):
        mailbox.refuse = {"boss@example.org": "550 unknown"}
        await channel(port, {}).deliver(make_notification())

    assert mailbox.taken[0][0].rcpt_tos == ["ops@example.org"]
    assert "mail for boss@example.org was refused: 550 unknown" in caplog.text


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"require_tls": True}, "does not offer STARTTLS"),
        ({"smarthost": "127.0.0.1:1"}, "no connection"),
        ({"to": "nobody"}, "to is no list of mail addresses"),
        ({"from": "a@b.c, d@e.f"}, "from must be one address"),
    ],
)
async def test_failures(entry: dict[str, Any], text: str) -> None:
    """A server that cannot do what is asked, and addresses that are none, are named."""
    async with mail_server() as (_, port):
        error = await failure(channel(port, entry))

    assert text in str(error)


async def test_silence() -> None:
    """A server that says nothing is given up in time."""

    ended = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(channel(port, {"timeout": "100ms"}))
        await ended.wait()

    assert error.reason is FailureReason.TIMEOUT
