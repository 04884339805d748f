"""Where Redis is, as a URL says it: one server, servers behind sentinels, or a cluster. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_LOGIN: Final = ("sentinel_username", "sentinel_password")
_FORMS: Final = (
    "redis://host:6379/0, rediss://host, unix:///path/to/socket, "
    "redis+sentinel://host1:26379,host2/name-of-the-master or redis+cluster://host1:6379,host2"
)


class Arrangement(StrEnum):
    """How the servers behind a URL belong together."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one server listens; ``path`` is that of a Unix socket and stands alone."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a URL says.

    Attributes:
        arrangement: How the servers belong together.
        endpoints: Servers to ask first: the one, the sentinels, or some of the cluster.
        master: The sentinels' name of the servers.
        database: Number of the database.
        username: Empty: the default user.
        password: Empty: none.
        sentinel_username: The same for the sentinels themselves.
        sentinel_password: The same for the sentinels themselves.
        tls: Whether connections are encrypted.
        tls_files: Paths by name: ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``.
    """

    arrangement: Arrangement
    endpoints: tuple[Endpoint, ...]
    master: str = ""
    database: int = 0
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sentinel_username: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    tls: bool = False
    tls_files: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it as a URL, without login and files."""
        scheme = "rediss" if self.tls else "redis"
        hosts = ",".join(map(str, self.endpoints))
        if self.arrangement is Arrangement.SINGLE:
            return f"unix://{hosts}" if self.endpoints[0].path else f"{scheme}://{hosts}"
        master = f"/{self.master}" if self.master else ""
        return f"{scheme}+{self.arrangement}://{hosts}{master}"


def parse_redis_url(url: str) -> RedisAddress:
    """Read a URL.

    Raises:
        ValueError: It is none of Redis; says why, without its secrets.
    """
    parts = urlsplit(url)
    scheme, _, arranged = parts.scheme.partition("+")
    if scheme == "unix" and not arranged:
        return _unix(parts)
    if scheme not in ("redis", "rediss") or arranged not in ("", "sentinel", "cluster"):
        raise ValueError(f"is no URL of Redis; write {_FORMS}")
    arrangement = Arrangement(arranged or "single")
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    port = _SENTINEL_PORT if arrangement is Arrangement.SENTINEL else _REDIS_PORT
    endpoints = tuple(_endpoint(host, port) for host in hosts.split(","))
    if arrangement is Arrangement.SINGLE and len(endpoints) > 1:
        raise ValueError("names several servers; write redis+sentinel:// or redis+cluster://")
    tls, options = scheme == "rediss", _options(parts)
    master, database = _path(parts.path.strip("/"), arrangement)
    if arrangement is Arrangement.CLUSTER and database:
        raise ValueError("names a database, which a cluster does not have; leave out its number")
    files = {name: value for name, value in options.items() if name in _TLS_FILES}
    if files and not tls:
        raise ValueError("has files for TLS and does not use it; write rediss")
    if arrangement is not Arrangement.SENTINEL and any(name in options for name in _SENTINEL_LOGIN):
        raise ValueError("has a login for sentinels and none of them; write redis+sentinel://")
    return RedisAddress(
        arrangement,
        endpoints,
        master=master,
        database=database,
        username=unquote(username),
        password=unquote(password),
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        tls=tls,
        tls_files=files,
    )


def _unix(parts: SplitResult) -> RedisAddress:
    login = parts.netloc.rpartition("@")[0]
    username, _, password = login.partition(":")
    query = parse_qs(parts.query)
    if not parts.path.strip("/") or query.keys() - {"db"}:
        raise ValueError("is no path of a socket; write unix:///path/to/socket, ?db=1 behind it")
    return RedisAddress(
        Arrangement.SINGLE,
        (Endpoint(path=unquote(parts.path)),),
        database=_database(query.get("db", ["0"])[-1]),
        username=unquote(username),
        password=unquote(password),
    )


def _endpoint(text: str, default_port: int) -> Endpoint:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise ValueError(f"has a host that cannot be read: {text!r}; write host:{default_port}")
    return Endpoint(host, port or default_port)


def _options(parts: SplitResult) -> dict[str, str]:
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    known = (*_TLS_FILES, *_SENTINEL_LOGIN)
    for name in options:
        if name not in known:
            raise ValueError(f"has the unknown option {name}; known are {', '.join(known)}")
    return options


def _path(path: str, arrangement: Arrangement) -> tuple[str, int]:
    """Return the sentinels' name of the master, and the database."""
    if arrangement is not Arrangement.SENTINEL:
        return "", _database(path or "0")
    master, _, database = path.partition("/")
    if not master:
        raise ValueError("does not name the master: redis+sentinel://host1,host2/name")
    return unquote(master), _database(database or "0")


def _database(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"has {text!r} where the number of a database stands; leave it out for 0")
    return int(text)
