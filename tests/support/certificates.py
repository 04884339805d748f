"""Certificates for tests of TLS, made with openssl; trusted by nobody else."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """A certificate for ``localhost``, signed by itself, and one for a client.

    Attributes:
        ca_file: What has to be trusted.
        server: The context of a server with it.
        client_cert: A certificate for a client.
        client_key: Its key.
    """

    ca_file: str
    server: ssl.SSLContext
    client_cert: str
    client_key: str

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Make certificates in a folder."""
        server_cert, server_key = _self_signed(folder, "localhost")
        client_cert, client_key = _self_signed(folder, "client")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_cert, server_key)
        return cls(server_cert, context, client_cert, client_key)

    def strict_server(self) -> ssl.SSLContext:
        """Return the context of a server that asks for the client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, self.ca_file.replace(".pem", ".key"))
        context.load_verify_locations(self.client_cert)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _self_signed(folder: Path, name: str) -> tuple[str, str]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return str(cert), str(key)
