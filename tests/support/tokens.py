"""Keys of every kind, tokens signed with them, and a key set on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from service.gateway.token_keys import PrivateKey

SECRET = "a secret of at least thirty-two bytes"
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def private_key(algorithm: str, number: int = 0) -> PrivateKey:
    """Return the same key for the same arguments; making RSA keys takes a while."""
    if algorithm.startswith("RS"):
        return rsa.generate_private_key(65537, 2048)
    if algorithm.startswith("ES"):
        return ec.generate_private_key(CURVES[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: PrivateKey) -> str:
    """Return the public half as settings take it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> bytes:
    """Return the private half as files hold it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """Return the public half as a member of a key set."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        found = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(public, as_dict=True)
    found = {name: value for name, value in found.items() if name not in ("key_ops", "use")}
    return {**found, **members}


def signed(claims: dict[str, Any], algorithm: str, key: Any = None, kid: Any = None) -> str:
    """Return a token, signed with the key of that algorithm unless one is given."""
    material = key or (SECRET if algorithm.startswith("HS") else private_key(algorithm))
    return jwt.encode(claims, material, algorithm, headers={"kid": kid} if kid else None)


@dataclass
class KeySetServer:
    """A key set as an identity provider shows it.

    Attributes:
        keys: What it answers with.
        status: The status it answers with.
        body: What it answers in place of the keys; None: those.
        requests: How many came.
        arrived: Set when one came.
        release: Requests are answered once this is set, as it is in the beginning.
    """

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    requests: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, _request: web.Request) -> web.Response:
        """Answer one request."""
        self.requests += 1
        keys = list(self.keys)
        self.arrived.set()
        await self.release.wait()
        if self.body is not None:
            return web.Response(status=self.status, body=self.body)
        return web.json_response({"keys": keys}, status=self.status)


@asynccontextmanager
async def key_set_server() -> AsyncIterator[KeySetServer]:
    """Run a key set until the end of the block."""
    server = KeySetServer()
    server.release.set()
    app = web.Application()
    app.router.add_get("/jwks.json", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
        yield server
    finally:
        server.release.set()
        await runner.cleanup()
