"""Reads ``http_config``: how requests are authorized and how their connections are made.

Source: Prometheus documentation, "Configuration", ``<http_config>``; prometheus/common,
config/http_config.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from alerts.notify.secret import Secret
from alerts.notify.setting_reader import is_http_url
from alerts.notify.settings import InFile
from alerts.notify.transport import ConnectionOptions, ProxyOptions, TLSOptions
from alerts.sections import Keys, Section

SecretText = Secret | InFile
"""A secret, or the file it stands in."""

_PROXY_KEYS: Final = ("proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header")
_KEYS: Final = Keys(
    (
        "basic_auth",
        "authorization",
        "oauth2",
        "bearer_token",
        "bearer_token_file",
        "tls_config",
        "follow_redirects",
        "enable_http2",
        "http_headers",
        *_PROXY_KEYS,
    )
)
_BASIC_KEYS: Final = Keys(
    ("username", "username_file", "password", "password_file"), ("username_ref", "password_ref")
)
_AUTHORIZATION_KEYS: Final = Keys(("type", "credentials", "credentials_file"), ("credentials_ref",))
_OAUTH2_KEYS: Final = Keys(
    (
        "client_id",
        "client_secret",
        "client_secret_file",
        "scopes",
        "token_url",
        "endpoint_params",
        "grant_type",
        "tls_config",
        *_PROXY_KEYS,
    ),
    (
        "client_secret_ref",
        "client_certificate_key_id",
        "client_certificate_key",
        "client_certificate_key_file",
        "client_certificate_key_ref",
        "signature_algorithm",
        "iss",
        "audience",
        "claims",
    ),
)
_TLS_KEYS: Final = Keys(
    (
        "ca",
        "ca_file",
        "cert",
        "cert_file",
        "key",
        "key_file",
        "server_name",
        "insecure_skip_verify",
        "min_version",
        "max_version",
    ),
    ("ca_ref", "cert_ref", "key_ref"),
)
_HEADER_KEYS: Final = Keys(("values", "secrets", "files"))
_TLS_VERSIONS: Final = ("TLS10", "TLS11", "TLS12", "TLS13")
_RESERVED_HEADERS: Final = frozenset(
    (
        "authorization",
        "host",
        "content-encoding",
        "content-length",
        "content-type",
        "user-agent",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "www-authenticate",
        "transfer-encoding",
    )
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user and a password."""

    username: str | InFile = ""
    password: SecretText | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """The field ``Authorization``: a scheme and credentials."""

    scheme: str
    credentials: SecretText


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Credentials of a client, for which a server gives tokens.

    Attributes:
        client_id: Who asks.
        client_secret: The client's secret.
        token_url: Where tokens are given.
        scopes: What they shall be good for.
        parameters: What is asked besides.
        connection: How that server is reached.
    """

    client_id: str
    client_secret: SecretText
    token_url: str
    scopes: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)


@dataclass(frozen=True, slots=True)
class HTTPConfig:
    """How requests are authorized and sent.

    Attributes:
        authorization: How; None: not.
        headers: Fields to add, each with its values.
        connection: How connections are made.
        follows_redirects: Whether redirects within the same server are followed.
    """

    authorization: BasicAuth | Authorization | OAuth2 | None = None
    headers: tuple[tuple[str, tuple[SecretText, ...]], ...] = ()
    connection: ConnectionOptions = field(default_factory=ConnectionOptions)
    follows_redirects: bool = True

    def secrets(self) -> Iterator[SecretText]:
        """Yield everything that must not show, in the configuration or in files."""
        match self.authorization:
            case BasicAuth(password=password) if password is not None:
                yield password
            case Authorization(credentials=credentials):
                yield credentials
            case OAuth2(client_secret=client_secret):
                yield client_secret
            case _:
                pass
        for _, values in self.headers:
            yield from values

    def files(self) -> Iterator[InFile]:
        """Yield everything that stands in files."""
        match self.authorization:
            case BasicAuth(username=InFile() as username):
                yield username
            case _:
                pass
        for secret in self.secrets():
            if isinstance(secret, InFile):
                yield secret


def read_http_config(section: Section, defaults: Section | None) -> HTTPConfig:
    """Return the ``http_config`` of an entry.

    Args:
        section: The entry.
        defaults: The section ``global``, whose ``http_config`` counts when the entry has none.
    """
    own = section.section("http_config", _KEYS)
    usual = None if defaults is None else defaults.section("http_config", _KEYS)
    chosen = own or usual
    if chosen is None:
        return HTTPConfig()
    config = _Reader(chosen).config()
    if own is not None and usual is not None and not any(own.has(key) for key in _PROXY_KEYS):
        proxy = _Reader(usual).proxy()
        config = replace(config, connection=replace(config.connection, proxy=proxy))
    return config


def read_tls_config(section: Section, key: str) -> TLSOptions | None:
    """Return the options of TLS under a key, None when there are none."""
    inner = section.section(key, _TLS_KEYS)
    return None if inner is None else _Reader(inner).tls()


@dataclass(frozen=True, slots=True)
class _Reader:
    section: Section

    def config(self) -> HTTPConfig:
        section = self.section
        section.flag("enable_http2", default=True)  # a wish; requests are made with HTTP/1.1
        return HTTPConfig(
            self._authorization(),
            self._headers(),
            ConnectionOptions(self._tls_of(section), self.proxy()),
            section.flag("follow_redirects", default=True),
        )

    # Authorization.

    def _authorization(self) -> BasicAuth | Authorization | OAuth2 | None:
        section = self.section
        ways = ("basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file")
        given = [key for key in ways if section.has(key)]
        if len(given) > 1:
            section.report(given[1], f"{' and '.join(given)} exclude each other; keep one")
        match given[:1]:
            case ["basic_auth"]:
                return self._basic()
            case ["authorization"]:
                return self._scheme()
            case ["oauth2"]:
                return self._oauth2()
            case [_]:
                token = self._secret(section, "bearer_token")
                return None if token is None else Authorization("Bearer", token)
            case _:
                return None

    def _basic(self) -> BasicAuth | None:
        section = self.section.section("basic_auth", _BASIC_KEYS)
        if section is None:
            return None
        if section.has("username") and section.has("username_file"):
            section.report("username_file", "username and username_file exclude each other")
        username: str | InFile = section.text("username")
        if section.has("username_file"):
            username = InFile(self._path(section, "username_file"), is_secret=False)
        return BasicAuth(username, self._secret(section, "password"))

    def _scheme(self) -> Authorization | None:
        section = self.section.section("authorization", _AUTHORIZATION_KEYS)
        if section is None:
            return None
        scheme = section.text("type", "Bearer").strip()
        if scheme.lower() == "basic":
            section.report("type", "type must not be Basic; write basic_auth instead")
        credentials = self._secret(section, "credentials")
        if credentials is None:
            section.report(None, "credentials is missing")
            return None
        return Authorization(scheme, credentials)

    def _oauth2(self) -> OAuth2 | None:
        section = self.section.section("oauth2", _OAUTH2_KEYS)
        if section is None:
            return None
        grant = section.text("grant_type", "client_credentials")
        if grant != "client_credentials":
            section.report(
                "grant_type", f"grant_type {grant!r} is not supported; only client_credentials is"
            )
        url = section.required_text("token_url")
        if url and not is_http_url(url):
            section.report("token_url", "token_url is no URL that begins with http(s)://host")
        secret = self._secret(section, "client_secret")
        if secret is None:
            section.report(None, "client_secret is missing")
        return OAuth2(
            section.required_text("client_id"),
            secret or Secret(""),
            url,
            tuple(section.texts("scopes")),
            tuple(section.text_map("endpoint_params").items()),
            ConnectionOptions(self._tls_of(section), _Reader(section).proxy()),
        )

    def _secret(self, section: Section, key: str) -> SecretText | None:
        file = f"{key}_file"
        if section.has(key) and section.has(file):
            section.report(file, f"{key} and {file} exclude each other; keep one")
        if section.has(file):
            return InFile(self._path(section, file))
        return Secret(section.text(key)) if section.has(key) else None

    def _path(self, section: Section, key: str) -> Path:
        return Path(section.document.file).parent / section.text(key)

    def _headers(self) -> tuple[tuple[str, tuple[SecretText, ...]], ...]:
        section = self.section.open_section("http_headers")
        if section is None:
            return ()
        found: list[tuple[str, tuple[SecretText, ...]]] = []
        for name in section.data:
            if _TOKEN.fullmatch(name) is None:
                section.report(name, f"{name!r} is no name of a header field", of_key=True)
            elif name.lower() in _RESERVED_HEADERS:
                section.report(name, f"the header field {name} cannot be set", of_key=True)
            elif (inner := section.section(name, _HEADER_KEYS)) is not None:
                found.append((name, self._header_values(inner)))
        return tuple(found)

    def _header_values(self, section: Section) -> tuple[SecretText, ...]:
        folder = Path(section.document.file).parent
        texts = [*section.texts("values"), *section.texts("secrets")]
        if any("\n" in text or "\r" in text for text in texts):
            section.report(None, "a value of a header field has but one line")
        return (
            *(Secret(text) for text in texts),
            *(InFile(folder / name) for name in section.texts("files")),
        )

    # Connections.

    def _tls_of(self, section: Section) -> TLSOptions:
        return read_tls_config(section, "tls_config") or TLSOptions()

    def tls(self) -> TLSOptions:
        section = self.section
        for key in ("ca", "cert", "key"):
            if section.has(key) and section.has(f"{key}_file"):
                section.report(f"{key}_file", f"{key} and {key}_file exclude each other; keep one")
        has_cert = section.has("cert") or section.has("cert_file")
        has_key = section.has("key") or section.has("key_file")
        if has_cert != has_key:
            section.report(None, "a certificate and its key belong together: cert and key")
        return TLSOptions(
            ca=section.text("ca"),
            ca_file=self._file("ca_file"),
            cert=section.text("cert"),
            cert_file=self._file("cert_file"),
            key=Secret(section.text("key")) if section.has("key") else None,
            key_file=self._file("key_file"),
            server_name=section.text("server_name"),
            insecure_skip_verify=section.flag("insecure_skip_verify", default=False),
            min_version=self._version("min_version"),
            max_version=self._version("max_version"),
        )

    def _file(self, key: str) -> str:
        return str(self._path(self.section, key)) if self.section.has(key) else ""

    def _version(self, key: str) -> str:
        version = self.section.text(key)
        if version not in ("", *_TLS_VERSIONS):
            self.section.report(key, f"{key} must be one of {', '.join(_TLS_VERSIONS)}")
            return ""
        return version

    def proxy(self) -> ProxyOptions:
        section = self.section
        url = section.text("proxy_url")
        from_environment = section.flag("proxy_from_environment", default=False)
        if url and not is_http_url(url):
            section.report("proxy_url", "proxy_url is no URL that begins with http(s)://host")
        if from_environment and (url or section.has("no_proxy")):
            message = "proxy_from_environment excludes proxy_url and no_proxy"
            section.report("proxy_from_environment", message)
        if section.has("no_proxy") and not url:
            section.report("no_proxy", "no_proxy needs proxy_url")
        if section.has("proxy_connect_header") and not (url or from_environment):
            section.report("proxy_connect_header", "proxy_connect_header needs proxy_url")
        return ProxyOptions(
            Secret(url) if url else None,
            section.text("no_proxy"),
            from_environment,
            self._connect_headers(),
        )

    def _connect_headers(self) -> tuple[tuple[str, Secret], ...]:
        section = self.section.open_section("proxy_connect_header")
        if section is None:
            return ()
        return tuple((name, Secret(", ".join(section.texts(name)))) for name in section.data)
