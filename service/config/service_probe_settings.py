"""The settings of checks of servers of other protocols, and of commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from service.config.probe_settings import ProbeTLSSettings
from service.config.section import Section
from service.config.types import Address, Secret, contradiction

DRIVERS: Final[dict[str, tuple[str, str, str]]] = {
    "postgresql": ("postgresql+asyncpg", "asyncpg", "postgres"),
    "postgres": ("postgresql+asyncpg", "asyncpg", "postgres"),
    "mysql": ("mysql+aiomysql", "aiomysql", "mysql"),
    "mariadb": ("mariadb+aiomysql", "aiomysql", "mysql"),
    "sqlite": ("sqlite+aiosqlite", "aiosqlite", ""),
}
"""Schemes of databases: SQLAlchemy's name, the package it takes, and the extra that brings it."""

_GRPC_MIN_VERSION: Final = "TLS12"
_REDIS_URL = re.compile(r"(?:rediss?://[^/\s]+(?:/[0-9]*)?|unix://\S+)")


def require_package(package: str, extra: str, what: str) -> None:
    """Make sure that a package is installed.

    Raises:
        ValueError: It is not; says how to install it.
    """
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{what} takes the package {package}, which is not installed: "
            f"pip install 'gatewatch[{extra}]'"
        )


def _redis_url(value: str) -> str:
    if _REDIS_URL.fullmatch(value) is None:
        raise ValueError(
            "is no URL of a Redis server; write one such as redis://user:password@host:6379/0"
        )
    require_package("redis", "redis", "a redis check")
    return value


def _database_url(value: str) -> str:
    scheme = value.partition("://")[0]
    if scheme not in DRIVERS or "://" not in value:
        raise ValueError(
            f"is no URL of a database; it begins with one of {', '.join(DRIVERS)}, such as "
            "postgresql://user:password@host/database"
        )
    _, package, extra = DRIVERS[scheme]
    require_package(package, extra, f"a check of {scheme}")
    return value


def _grpc_address(value: str) -> str:
    require_package("grpc_health", "grpc", "a grpc check")
    return value


RedisURL = Annotated[str, AfterValidator(_redis_url)]
DatabaseURL = Annotated[str, AfterValidator(_database_url)]
GRPCAddress = Annotated[Address, AfterValidator(_grpc_address)]


class GRPCProbeSettings(Section):
    """A server that answers gRPC's health protocol with SERVING."""

    address: GRPCAddress
    """Host and port, such as localhost:50051."""
    service: str = ""
    """The service to ask about; empty: the whole server."""
    use_tls: bool = False
    """Whether to connect with TLS."""
    tls: ProbeTLSSettings = ProbeTLSSettings()
    """How TLS connections are made."""

    @model_validator(mode="after")
    def _verified(self) -> Self:
        if not self.tls.verify:
            raise contradiction(
                "gRPC always verifies certificates; trust the server's with tls.ca_file",
                ("tls", "verify"),
            )
        if self.tls.min_version != _GRPC_MIN_VERSION:
            raise contradiction(
                "gRPC chooses the version itself, TLS 1.2 or newer; remove tls.min_version",
                ("tls", "min_version"),
            )
        return self


class RedisProbeSettings(Section):
    """A Redis server that answers PING."""

    url: RedisURL
    """Such as redis://user:password@host:6379/0, rediss:// for TLS."""
    password: Secret | None = None
    """The password, if it shall not stand in the URL."""
    tls: ProbeTLSSettings = ProbeTLSSettings()
    """How TLS connections are made."""


class SQLProbeSettings(Section):
    """A database that answers a query; the rows are [BODY], a list of mappings."""

    url: DatabaseURL
    """Such as postgresql://user:password@host/database, or mysql://, sqlite://."""
    password: Secret | None = None
    """The password, if it shall not stand in the URL."""
    query: str = "SELECT 1"
    """The query; whatever it changes is taken back."""


class SMTPProbeSettings(Section):
    """A mail server that greets, and goes on with TLS."""

    address: Address
    """Host and port, such as mail.example.com:587."""
    encryption: Literal["none", "starttls", "implicit"] = "starttls"
    """none, TLS asked for with STARTTLS, or TLS from the start."""
    tls: ProbeTLSSettings = ProbeTLSSettings()
    """How TLS connections are made."""


class CommandProbeSettings(Section):
    """A program that ends with code 0; what it prints is [BODY], its code [STATUS]."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments; no shell is involved."""
    environment: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Variables it sees besides PATH, HOME, LANG and TZ."""
    directory: Path | None = None
    """Where it runs; unset: the directory gatewatch runs in."""
