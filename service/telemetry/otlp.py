"""Where and how each signal is sent, from settings and the standard variables.

Settings win; the ``OTEL_*`` variables fill what is not set. A signal is sent when an endpoint is
known for it or its ``OTEL_..._EXPORTER`` says ``otlp``; ``none`` switches it off.

``OTEL_EXPORTER_OTLP_TIMEOUT`` is not honoured: the specification means milliseconds, the Python
exporters read seconds, and either reading of the other's value is wrong by a thousand.
"""

from __future__ import annotations

import importlib.util
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import unquote, urlsplit

from opentelemetry.util.re import parse_env_headers

from alerts.errors import Problem
from service.config.hiding import hide_password
from service.config.telemetry_settings import OTLPSettings
from service.errors import ConfigurationError
from service.telemetry.export import SIGNALS, Signal

Protocol = Literal["http/protobuf", "grpc"]
Compression = Literal["none", "gzip"]
Temporality = Literal["cumulative", "delta", "lowmemory"]

_DEFAULT_ENDPOINTS: Final[dict[Protocol, str]] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"

_HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER: Final = re.compile(rf"{_HEADER_NAME}[ \t]*=([^\";\\]*)")
_HISTOGRAMS: Final = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Files in PEM for connections with TLS; all of them can be read.

    Attributes:
        ca_file: Authorities to trust; None: those of the system.
        cert_file: Our certificate, for collectors that ask for one.
        key_file: Its key; None: it is in the same file.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how one signal is sent.

    Attributes:
        endpoint: The whole URL, with the signal's path for HTTP.
        protocol: How.
        headers: Sent with every request.
        timeout_s: One export with its retries.
        compression: Of requests.
        tls: For https.
        temporality: Of metrics: ``delta`` sends what came since the last export that was accepted,
            ``lowmemory`` only for histograms, as every counter here is an observed one.
    """

    endpoint: str
    protocol: Protocol
    headers: Mapping[str, str]
    timeout_s: float
    compression: Compression = "none"
    tls: TLSFiles = TLSFiles()
    temporality: Temporality = "cumulative"


def resolve_targets(settings: OTLPSettings, environment: Mapping[str, str]) -> dict[Signal, Target]:
    """Return the signals that are sent, and where.

    Raises:
        ConfigurationError: An endpoint, protocol or exporter that cannot be used; lists all.
    """
    problems: list[Problem] = []
    targets: dict[Signal, Target] = {}
    for signal in SIGNALS:
        try:
            target = _Resolver(signal, settings, environment).resolve()
        except ConfigurationError as error:
            problems.extend(error.problems)
        else:
            if target is not None:
                targets[signal] = target
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return targets


class _Resolver:
    """Resolves one signal; ``problem`` names the setting or variable that is wrong."""

    def __init__(
        self, signal: Signal, settings: OTLPSettings, environment: Mapping[str, str]
    ) -> None:
        self._signal = signal
        self._settings = settings
        self._environment = environment

    def resolve(self) -> Target | None:
        wanted = self._exporter()
        if wanted == "none":
            return None
        place, endpoint, is_base = self._endpoint()
        if not endpoint and wanted != "otlp":
            return None
        self._check_histograms()
        protocol = self._protocol()
        if protocol == "grpc" and not _has_grpc():
            raise _problem(
                self._protocol_place(),
                "grpc needs the extra: pip install 'gatewatch[grpc]', or use http/protobuf",
            )
        if not endpoint:
            place, endpoint, is_base = "default", _DEFAULT_ENDPOINTS[protocol], True
        self._check_endpoint(place, endpoint, protocol, is_base=is_base)
        if protocol == "http/protobuf" and is_base:
            endpoint = f"{endpoint.rstrip('/')}/v1/{self._signal}"
        return Target(
            endpoint,
            protocol,
            self._headers(),
            self._settings.timeout,
            compression=self._compression(),
            tls=self._tls(),
            temporality=self._temporality() if self._signal == "metrics" else "cumulative",
        )

    def _exporter(self) -> Literal["otlp", "none", ""]:
        """Return what the signal's variable asks for; empty when it says nothing of OTLP."""
        variable = f"OTEL_{self._signal.upper()}_EXPORTER"
        names = {name.strip() for name in self._environment.get(variable, "").split(",")} - {""}
        if self._signal == "metrics":
            names.discard("prometheus")  # /metrics is always there
        unknown = sorted(names - {"otlp", "none"})
        if unknown:
            raise _problem(variable, f"{unknown[0]!r} is not supported; write otlp or none")
        if names == {"otlp", "none"}:
            raise _problem(variable, "otlp and none exclude each other; write one of them")
        return "otlp" if "otlp" in names else "none" if "none" in names else ""

    def _endpoint(self) -> tuple[str, str, bool]:
        """Return where the endpoint is written, the endpoint, and whether it is a base URL."""
        if self._settings.endpoint:
            return "telemetry.otlp.endpoint", self._settings.endpoint, True
        own = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_ENDPOINT"
        if self._environment.get(own):
            return own, self._environment[own], False
        shared = "OTEL_EXPORTER_OTLP_ENDPOINT"
        return shared, self._environment.get(shared, ""), True

    def _protocol(self) -> Protocol:
        if self._settings.protocol is not None:
            return self._settings.protocol
        variable = self._protocol_place()
        match self._environment.get(variable, ""):
            case "":
                return "http/protobuf"
            case "http/protobuf" | "grpc" as protocol:
                return protocol
            case other:
                raise _problem(variable, f"{other!r} is not supported; write http/protobuf or grpc")

    def _protocol_place(self) -> str:
        """Return the setting or variable that says which protocol it is, if one does."""
        if self._settings.protocol is not None:
            return "telemetry.otlp.protocol"
        own = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_PROTOCOL"
        return own if self._environment.get(own) else "OTEL_EXPORTER_OTLP_PROTOCOL"

    def _headers(self) -> dict[str, str]:
        variable, text = self._variable("HEADERS")
        headers = _headers_of(variable, text)
        for name, secret in self._settings.headers.items():
            value = secret.get_secret_value()
            if not (re.fullmatch(_HEADER_NAME, name) and _is_header_value(value)):
                raise _problem(
                    f"telemetry.otlp.headers.{name}",
                    "is no header: a name is letters, digits and hyphens, a value printable ASCII "
                    "characters, without spaces or line breaks around them",
                )
            headers[name.lower()] = value
        return headers

    def _compression(self) -> Compression:
        if self._settings.compression is not None:
            return self._settings.compression
        variable, text = self._variable("COMPRESSION")
        match text.lower():
            case "":
                return "none"
            case "none" | "gzip" as compression:
                return compression
            case _:
                raise _problem(variable, f"{text!r} is not supported; write gzip or none")

    def _temporality(self) -> Temporality:
        if self._settings.temporality is not None:
            return self._settings.temporality
        preference = self._environment.get(_TEMPORALITY, "").strip().lower()
        for known in get_args(Temporality):
            if preference == known:
                return known  # type: ignore[no-any-return]  # get_args has no types
        if preference:
            choices = ", ".join(get_args(Temporality))
            raise _problem(_TEMPORALITY, f"{preference!r} is not known; write one of {choices}")
        return "cumulative"

    def _check_histograms(self) -> None:
        wanted = self._environment.get(_HISTOGRAMS, "").strip().lower()
        if self._signal == "metrics" and wanted not in ("", "explicit_bucket_histogram"):
            raise _problem(
                _HISTOGRAMS,
                f"{wanted!r} is not supported: rules and /metrics read explicit buckets; unset it, "
                "and choose buckets with telemetry.views",
            )

    def _tls(self) -> TLSFiles:
        ca_place, ca_file = self._file(self._settings.ca_file, "ca_file", "CERTIFICATE")
        cert_place, cert = self._file(self._settings.cert_file, "cert_file", "CLIENT_CERTIFICATE")
        key_place, key = self._file(self._settings.key_file, "key_file", "CLIENT_KEY")
        if self._settings.key_file is not None and cert is None:
            raise _problem(key_place, "a key without a certificate; set cert_file as well")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if ca_file is not None:
            _load(ca_place, ca_file, lambda: context.load_verify_locations(ca_file))
        if cert is not None:
            # Without the function a key with a password would be asked for on the terminal.
            _load(cert_place, cert, lambda: context.load_cert_chain(cert, key, lambda: ""))
        return TLSFiles(ca_file, cert, key)

    def _file(self, setting: Path | None, name: str, suffix: str) -> tuple[str, Path | None]:
        """Return where a file is named and the file."""
        if setting is not None:
            return f"telemetry.otlp.{name}", setting
        variable, text = self._variable(suffix)
        return variable, Path(text) if text else None

    def _variable(self, suffix: str) -> tuple[str, str]:
        """Return the variable of the signal, or else of all signals, and what it says."""
        own = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_{suffix}"
        name = own if self._environment.get(own) else f"OTEL_EXPORTER_OTLP_{suffix}"
        return name, self._environment.get(name, "").strip()

    def _check_endpoint(
        self, place: str, endpoint: str, protocol: Protocol, *, is_base: bool
    ) -> None:
        url = urlsplit(endpoint)
        try:
            has_address = bool(url.hostname) and url.port != 0
        except ValueError:  # a port that is no number
            has_address = False
        if url.scheme not in ("http", "https") or not has_address:
            raise _problem(
                place,
                f"{hide_password(endpoint)!r} is not a URL such as {_DEFAULT_ENDPOINTS[protocol]}",
            )
        if is_base and url.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics", "/v1/logs")):
            raise _problem(
                place,
                f"{hide_password(endpoint)!r} is the URL of one signal; leave out the path from "
                "/v1 on",
            )


def _has_grpc() -> bool:
    """Whether the extra is installed."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.grpc") is not None
    except ValueError:  # it was imported in a way that left nothing behind
        return False


def _load(place: str, file: Path, load: Callable[[], None]) -> None:
    """Have a file read.

    Raises:
        ConfigurationError: It cannot be read or is not what it should be.
    """
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise _problem(place, f"{file} cannot be used for TLS: {reason}") from error


def _headers_of(variable: str, text: str) -> dict[str, str]:
    """Return the headers of a variable; the library reads what it would not complain about.

    It logs what it cannot read, and goes on without it: the values are credentials.
    """
    parts = text.split(",")
    for number, part in enumerate(parts, 1):
        found = _HEADER.fullmatch(part.strip())
        value = unquote(found[1]).strip() if found else ""
        if part.strip() and not (found and _is_header_value(value)):
            raise _problem(
                variable,
                f"header {number} is not name=value with printable ASCII characters; in a value "
                'write a comma as %2C, a semicolon as %3B, " as %22, \\ as %5C',
            )
    return dict(parse_env_headers(text, liberal=True))


def _is_header_value(value: str) -> bool:
    """Whether a value can be sent; what cannot be fails with every request, and is then logged."""
    return value.isascii() and value.isprintable() and value == value.strip()


def _problem(place: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, 0, 0, message)])
