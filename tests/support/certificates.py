"""Certificates for tests of TLS, of an authority that nobody else trusts."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """A certificate for ``localhost``, and one for a client.

    Attributes:
        ca_file: What has to be trusted.
        server: The context of a server with its certificate.
        client_cert: A certificate for a client.
        client_key: Its key.
    """

    ca_file: str
    server: ssl.SSLContext
    client_cert: str
    client_key: str
    authority: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Make certificates in a folder."""
        authority = trustme.CA()
        ca_file, cert, key = (folder / f"{name}.pem" for name in ("ca", "client", "client-key"))
        authority.cert_pem.write_to_path(ca_file)
        client = authority.issue_cert("client@localhost")
        client.cert_chain_pems[0].write_to_path(cert)
        client.private_key_pem.write_to_path(key)
        return cls(str(ca_file), _server(authority), str(cert), str(key), authority)

    def another_server(self) -> ssl.SSLContext:
        """Return a context like ``server``, to be changed."""
        return _server(self.authority)

    def server_for(self, name: str, days: float) -> ssl.SSLContext:
        """Return the context of a server whose certificate ends so many days from now."""
        now = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - OpenSSL asks the machine's clock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(
            name,
            not_before=now - datetime.timedelta(days=30),
            not_after=now + datetime.timedelta(days=days),
        ).configure_cert(context)
        return context

    def strict_server(self) -> ssl.SSLContext:
        """Return the context of a server that asks for the client's certificate."""
        context = self.another_server()
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _server(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context
