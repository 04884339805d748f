"""What can be refused before anything starts: all of it is looked for, and told in one go.

The process, a reload of it and ``gatewatch config check`` all ask here, so that what is called good
is what starts. Problems name the setting they are about; where that was written is for whoever read
the settings to add, see ``service.config.sources.LoadedSettings.located``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Final

from alerts.durations import format_duration
from alerts.errors import Problem
from alerts.notify.tls import make_context
from alerts.notify.transport import TransportError
from alerts.rules.model import RuleEngine
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from service.config.addresses import is_loopback
from service.config.gateway_settings import GatewaySettings
from service.config.health_settings import BUILT_IN_CHECKS, HealthSettings
from service.config.probe_settings import ProbeTLSSettings
from service.config.settings import AlertsSettings, Settings
from service.config.token_settings import TokenSettings
from service.documents import Documents, read_documents
from service.errors import ConfigurationError
from service.gateway.authentication import static_key_problems
from service.health.probes.tls_contexts import tls_options
from service.telemetry.checking import telemetry_problems

SAFE_SECRET_BYTES: Final = 32
"""Length of a secret for HS256 that is as hard to guess as its signature (RFC 7518, 3.2)."""


def read_configured(
    settings: Settings, *, engine: RuleEngine, environment: Mapping[str, str]
) -> Documents:
    """Return the rules and routes of settings that can be used.

    Args:
        settings: All settings.
        engine: Prepares the expressions of rules.
        environment: The process's environment, for the ``OTEL_*`` variables.

    Raises:
        ConfigurationError: Settings, variables, rules or routes that cannot be used; lists all.
    """
    problems = [
        *_names(settings.health),
        *_tls_files(settings.health),
        *_storage(settings.alerts),
        *_token_keys(settings.gateway),
        *_broker(settings.gateway),
        *telemetry_problems(settings, environment),
    ]
    return _documents(settings, engine, problems)


def read_reloaded(settings: Settings, *, engine: RuleEngine) -> Documents:
    """Return the rules and routes of settings of which a running process takes what it can.

    Raises:
        ConfigurationError: Rules, routes, checks or keys that cannot be used; lists all.
    """
    problems = [
        *_names(settings.health),
        *_tls_files(settings.health),
        *_token_keys(settings.gateway),
    ]
    return _documents(settings, engine, problems)


def _documents(settings: Settings, engine: RuleEngine, problems: list[Problem]) -> Documents:
    documents: Documents | None = None
    try:
        documents = read_documents(settings, engine)
    except ConfigurationError as error:
        problems += error.problems
    if documents is None or problems:
        raise ConfigurationError(problems)
    return documents


def doubts(settings: Settings) -> list[Problem]:
    """Return what is legal and probably not meant, or not safe."""
    return [
        *_short_secrets(settings.gateway),
        *_open_key_sets(settings.gateway),
        *_slow_checks(settings.health),
    ]


def _names(health: HealthSettings) -> list[Problem]:
    """Refuse configured checks that are called like the built-in ones."""
    return [
        Problem(
            f"health.checks[{index}].name",
            0,
            0,
            f"{check.name} is a built-in check; rename yours",
        )
        for index, check in enumerate(health.checks)
        if check.name in BUILT_IN_CHECKS
    ]


def _tls_files(health: HealthSettings) -> list[Problem]:
    """Refuse certificates and keys of checks that cannot be used. Reads them."""
    said: dict[ProbeTLSSettings, str] = {}
    problems: list[Problem] = []
    for index, check in enumerate(health.checks):
        tls = getattr(getattr(check, check.kind), "tls", None)
        if not isinstance(tls, ProbeTLSSettings) or not (tls.ca_file or tls.cert_file):
            continue
        if tls not in said:
            said[tls] = _tls_fault(tls)
        if said[tls]:
            path = f"health.checks[{index}].{check.kind}.tls"
            problems.append(Problem(path, 0, 0, said[tls]))
    return problems


def _tls_fault(tls: ProbeTLSSettings) -> str:
    try:
        make_context(tls_options(tls))
    except TransportError as error:
        return str(error).removeprefix("TLS: ")
    return ""


def _storage(alerts: AlertsSettings) -> list[Problem]:
    if not alerts.storage_url:
        return []
    try:
        Database(alerts.storage_url)
    except StorageError as error:
        message = re.sub(r"^alerts\.storage_url ", "it ", str(error))
        return [Problem("alerts.storage_url", 0, 0, message)]
    return []


def _broker(gateway: GatewaySettings) -> list[Problem]:
    if gateway.broker.type != "redis" or importlib.util.find_spec("redis") is not None:
        return []
    message = "redis needs the extra: pip install 'gatewatch[redis]', or use memory"
    return [Problem("gateway.broker.type", 0, 0, message)]


def _token_keys(gateway: GatewaySettings) -> list[Problem]:
    return [
        Problem(f"gateway.{section}.{key}", 0, 0, f"it {reason}")
        for section, token in _token_sections(gateway)
        for key, reason in static_key_problems(token)
    ]


def _short_secrets(gateway: GatewaySettings) -> list[Problem]:
    message = f"too short to be safe; take {SAFE_SECRET_BYTES} bytes or more"
    return [
        Problem(f"gateway.{section}.hmac_secret", 0, 0, message)
        for section, token in _token_sections(gateway)
        if token.hmac_secret is not None
        and len(token.hmac_secret.get_secret_value().encode()) < SAFE_SECRET_BYTES
    ]


def _open_key_sets(gateway: GatewaySettings) -> list[Problem]:
    message = "what comes over http can be changed on its way, and so who may sign; take https"
    return [
        Problem(f"gateway.{section}.jwks_url", 0, 0, message)
        for section, token in _token_sections(gateway)
        if token.jwks_url is not None
        and token.jwks_url.scheme == "http"
        and not is_loopback(token.jwks_url.host or "")
    ]


def _token_sections(gateway: GatewaySettings) -> tuple[tuple[str, TokenSettings], ...]:
    return ("token", gateway.token), ("subscription_token", gateway.subscription_token)


def _slow_checks(health: HealthSettings) -> list[Problem]:
    problems: list[Problem] = []
    for index, check in enumerate(health.checks):
        interval_s = health.interval if check.interval is None else check.interval
        if check.timeout > interval_s:
            message = (
                f"{check.name} may take {format_duration(check.timeout)} and is due every "
                f"{format_duration(interval_s)}: runs are missed while one is slow; take a timeout "
                "that is no longer than the interval"
            )
            problems.append(Problem(f"health.checks[{index}].timeout", 0, 0, message))
    return problems
