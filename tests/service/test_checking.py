"""What is refused before anything starts, and that all of it is told at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.series.store import SeriesStore
from service.checking import doubts, read_configured
from service.config.settings import Settings
from service.errors import ConfigurationError
from tests.support.tokens import private_key, public_pem

SECRET = "0123456789abcdef0123456789abcdef"
PUBLIC_KEY = public_pem(private_key("EdDSA"))


def problems_of(
    settings: dict[str, Any] | None = None, environment: dict[str, str] | None = None
) -> list[str]:
    """Return what is wrong with settings and variables."""
    engine = Engine(SeriesStore(clock=ManualClock(), retention_s=60))
    try:
        read_configured(
            Settings.model_validate(settings or {}), engine=engine, environment=environment or {}
        )
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


def doubts_of(**sections: Any) -> list[str]:
    """Return what is doubtful about settings."""
    return [str(doubt) for doubt in doubts(Settings.model_validate(sections))]


def test_nothing_is_wrong_with_the_defaults() -> None:
    """What runs without a file is good, and nothing about it is doubtful."""
    assert (problems_of(), doubts_of()) == ([], [])


@pytest.mark.parametrize(
    ("settings", "environment", "said"),
    [
        (
            {"telemetry": {"otlp": {"endpoint": "localhost:4318"}}},
            {},
            "telemetry.otlp.endpoint: 'localhost:4318' is not a URL such as http://localhost:4318",
        ),
        (
            {"telemetry": {"otlp": {"endpoint": "me:hush@collector"}}},
            {},
            "telemetry.otlp.endpoint: 'me:hush@collector' is not a URL such as",
        ),
        ({}, {"OTEL_TRACES_SAMPLER": "foo"}, "OTEL_TRACES_SAMPLER: 'foo' is not supported;"),
        (
            {},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "foo"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: 'foo' is not a URL such as http://localhost:4318",
        ),
        (
            {},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_EXPORTER_OTLP_PROTOCOL": "foo"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'foo' is not supported; write http/protobuf or grpc",
        ),
        ({}, {"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "OTEL_BSP_MAX_QUEUE_SIZE: '0' is not a positive"),
        (
            {},
            {"OTEL_SPAN_LINK_COUNT_LIMIT": "x"},
            "OTEL_SPAN_LINK_COUNT_LIMIT: 'x' is not a whole number of 0 or more",
        ),
        (
            {"alerts": {"storage_url": "not a URL"}},
            {},
            "alerts.storage_url: it is no database URL;",
        ),
        ({"alerts": {"storage_url": "foo://bar"}}, {}, "alerts.storage_url: "),
        (
            {"gateway": {"token": {"rsa_public_key": "secret"}}},
            {},
            "gateway.token.rsa_public_key: it is not a public key in PEM; it begins with ",
        ),
        (
            {"gateway": {"subscription_token": {"hmac_secret": PUBLIC_KEY}}},
            {},
            "gateway.subscription_token.hmac_secret: it is a public key, a certificate or a ",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    settings: dict[str, Any], environment: dict[str, str], said: str
) -> None:
    """One problem, which begins with the setting or variable."""
    (problem,) = problems_of(settings, environment)
    assert problem.startswith(said)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "wrong"])
def test_tls_files_of_checks_are_read(tmp_path: Path, content: str | None) -> None:
    """One that is not there, or is no certificate, is refused before the first run of its check."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    bad = {"address": "localhost:1", "tls": {"ca_file": str(file)}}
    checks = [{"name": "one", "tls": bad}, {"name": "two", "tcp": {"address": "localhost:1"}}]

    (problem,) = problems_of({"health": {"checks": checks}})
    assert problem.startswith(f"health.checks[0].tls.tls: cannot use {file}: ")


def test_grpc_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem says how to get it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc", None)
    otlp = {"endpoint": "http://127.0.0.1:4317", "protocol": "grpc"}

    (problem,) = problems_of({"telemetry": {"otlp": otlp}})
    assert problem.startswith("telemetry.otlp.protocol: grpc needs the extra: pip install ")


def test_redis_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem says how to get it; the broker of one process needs nothing."""
    monkeypatch.setitem(sys.modules, "redis", None)

    (problem,) = problems_of({"gateway": {"broker": {"type": "redis"}}})
    assert problem.startswith("gateway.broker.type: redis needs the extra: pip install ")
    assert problems_of({"gateway": {"broker": {"type": "memory"}}}) == []


def test_a_protocol_without_an_endpoint_is_not_looked_at() -> None:
    """Nothing is sent, so nothing of it can fail."""
    assert problems_of({}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "foo"}) == []


def test_a_file_that_is_missing_hides_nothing(tmp_path: Path) -> None:
    """Every missing file is told with its setting, and the other files are read all the same."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("groups: [{name: g, rules: [{alert: A, expr: 'up =='}]}]\n")
    files = [str(tmp_path / "nope.yaml"), str(bad), str(tmp_path / "no.yaml")]

    found = problems_of(
        {
            "alerts": {"rule_files": files, "alertmanager_config": tmp_path / "am.yaml"},
            "health": {"checks": [{"name": "http-pool", "http": {"url": "http://localhost/"}}]},
        },
        {"OTEL_TRACES_SAMPLER": "foo"},
    )
    assert [problem.split(": ")[0] for problem in found if "bad.yaml" not in problem] == [
        "OTEL_TRACES_SAMPLER",
        "alerts.alertmanager_config",
        "alerts.rule_files[0]",
        "alerts.rule_files[2]",
        "health.checks[0].name",
    ]
    assert len([problem for problem in found if problem.startswith(f"{bad}:1:")]) == 1
    assert f"alerts.rule_files[2]: there is no such rule file: {tmp_path}/no.yaml" in found


def test_a_short_secret_is_doubtful() -> None:
    """It works, and is not safe; the doubt does not repeat it."""
    assert doubts_of(gateway={"token": {"hmac_secret": SECRET}}) == []
    assert doubts_of(gateway={"token": {"hmac_secret": SECRET[1:]}}) == [
        "gateway.token.hmac_secret: too short to be safe; take 32 bytes or more"
    ]


def test_a_short_secret_of_subscription_tokens_is_doubtful_too() -> None:
    """Named by its own key."""
    assert doubts_of(gateway={"subscription_token": {"hmac_secret": "hush"}}) == [
        "gateway.subscription_token.hmac_secret: too short to be safe; take 32 bytes or more"
    ]


def test_a_key_set_that_can_be_changed_on_its_way_is_doubtful() -> None:
    """Over plain HTTP, unless it stays on this machine."""
    for url in ("https://id.example.org/keys", "http://127.0.0.1/keys", "http://localhost/keys"):
        assert doubts_of(gateway={"token": {"jwks_url": url}}) == []
    assert doubts_of(gateway={"token": {"jwks_url": "http://id.example.org/keys"}}) == [
        "gateway.token.jwks_url: what comes over http can be changed on its way, and so who may "
        "sign; take https"
    ]


def test_a_check_that_may_outlast_its_interval_is_doubtful() -> None:
    """With an interval of its own or the common one; as long as the interval is fine."""
    http = {"url": "http://localhost/"}
    checks = [
        {"name": "a", "http": http, "interval": "5s"},
        {"name": "b", "http": http, "timeout": "15s"},
        {"name": "c", "http": http, "timeout": "16s"},
    ]

    first, second = doubts_of(health={"interval": "15s", "checks": checks})
    assert first.startswith("health.checks[0].timeout: a may take 10s and is due every 5s: ")
    assert second.startswith("health.checks[2].timeout: c may take 16s and is due every 15s: ")
