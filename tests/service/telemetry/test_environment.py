"""The standard variables beside the settings, and where each signal goes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from service.config.settings import Settings
from service.config.telemetry_settings import OTLPSettings, TelemetrySettings
from service.errors import ConfigurationError
from service.telemetry.environment import (
    is_disabled,
    resolve_export_interval,
    resolve_limits,
    resolve_resource,
    resolve_sampling,
)
from service.telemetry.export import QueueLimits, Signal
from service.telemetry.otlp import Target, resolve_targets

HERE = "http://127.0.0.1:4318"


def targets(environment: dict[str, str], **settings: Any) -> dict[Signal, Target]:
    """Resolve the targets of all signals."""
    return resolve_targets(OTLPSettings.model_validate(settings), environment)


def test_nothing_configured_means_nothing_is_sent():
    """Without an endpoint no signal has a target."""
    assert targets({}) == {}


def test_one_setting_sends_everything():
    """The endpoint of the settings is the base of each signal's URL."""
    found = targets({}, endpoint=f"{HERE}/")

    assert {signal: target.endpoint for signal, target in found.items()} == {
        signal: f"{HERE}/v1/{signal}" for signal in ("traces", "metrics", "logs")
    }


def test_the_variable_does_the_same():
    """``OTEL_EXPORTER_OTLP_ENDPOINT`` is enough to send everything."""
    found = targets({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE})

    assert found["traces"].endpoint == f"{HERE}/v1/traces"
    assert len(found) == 3


def test_a_signals_own_endpoint_is_taken_as_it_is():
    """The variable of one signal names its whole URL and sends that signal only."""
    found = targets({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{HERE}/custom"})

    assert list(found) == ["traces"]
    assert found["traces"].endpoint == f"{HERE}/custom"


def test_settings_win_over_variables():
    """What is written in the settings is not changed by the environment."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere:2",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=env,b=env",
    }

    found = targets(
        environment, endpoint=HERE, protocol="http/protobuf", headers={"A": "set"}, timeout="2s"
    )

    assert found["traces"] == Target(
        f"{HERE}/v1/traces", "http/protobuf", {"a": "set", "b": "env"}, 2.0
    )


def test_an_exporter_of_none_switches_a_signal_off():
    """``OTEL_TRACES_EXPORTER=none`` keeps traces here although there is an endpoint."""
    found = targets({"OTEL_TRACES_EXPORTER": "none"}, endpoint=HERE)

    assert sorted(found) == ["logs", "metrics"]


def test_an_exporter_of_otlp_needs_no_endpoint():
    """``OTEL_TRACES_EXPORTER=otlp`` sends to the usual place on this machine."""
    found = targets({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})

    assert found["traces"].endpoint == "http://localhost:4317"


def test_the_metrics_page_needs_no_exporter():
    """``prometheus`` among the metric exporters says what is so anyway."""
    found = targets({"OTEL_METRICS_EXPORTER": "prometheus,otlp"}, endpoint=HERE)

    assert "metrics" in found


def test_grpc_takes_the_endpoint_as_it_is():
    """For gRPC no path is added."""
    found = targets({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, endpoint=HERE)

    assert (found["traces"].endpoint, found["traces"].protocol) == (HERE, "grpc")
    assert found["metrics"].protocol == "http/protobuf"


@pytest.mark.parametrize(
    ("environment", "endpoint", "message"),
    [
        ({}, "127.0.0.1:4318", "telemetry.otlp.endpoint: '127.0.0.1:4318' is not a URL"),
        ({}, "http://", "is not a URL"),
        ({}, "http://host:port", "is not a URL"),
        ({}, f"{HERE}/v1/traces", "leave out the path from /v1 on"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, HERE, "OTEL_TRACES_EXPORTER: 'zipkin'"),
        ({"OTEL_LOGS_EXPORTER": "otlp,none"}, HERE, "exclude each other"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, HERE, "'http/json' is not supported"),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "hourly"},
            HERE,
            "'hourly' is not known; write one of cumulative, delta, lowmemory",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
                    "base2_exponential_bucket_histogram"
                )
            },
            HERE,
            "choose buckets with telemetry.views",
        ),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, HERE, "'zstd' is not supported; write gzip"),
        (
            {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"},
            HERE,
            "OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere.pem cannot be used for TLS",
        ),
        (
            {"OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE": __file__},
            HERE,
            "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE:",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(environment, endpoint, message):
    """Each wrong value is named with its place and what would be right, once for all signals."""
    with pytest.raises(ConfigurationError) as refused:
        targets(environment, endpoint=endpoint)

    assert message in str(refused.value)
    assert len(refused.value.problems) == 1


def test_grpc_without_its_extra_is_refused(monkeypatch):
    """Asking for gRPC where it is not installed says how to get it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc", None)

    for environment, settings, place in (
        ({}, {"protocol": "grpc"}, "telemetry.otlp.protocol"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            targets(environment, endpoint=HERE, **settings)

        assert str(refused.value) == (
            f"{place}: grpc needs the extra: pip install 'gatewatch[grpc]', or use http/protobuf"
        )


def test_the_resource_says_who_this_is():
    """Settings win over variables, variables over defaults, and the rest is carried along."""
    settings = Settings.model_validate(
        {"service": {"environment": "staging"}, "gateway": {"port": 8123}}
    )
    environment = {
        "OTEL_SERVICE_NAME": "chat",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,team=a%20b,deployment.environment.name=x",
    }

    attributes = resolve_resource(settings, environment).attributes

    assert attributes["service.name"] == "chat"
    assert attributes["deployment.environment.name"] == "staging"
    assert attributes["team"] == "a b"
    assert str(attributes["service.instance.id"]).endswith(":8123")


def test_a_name_in_the_settings_is_final():
    """A service name that is written down is not replaced by a variable."""
    settings = Settings.model_validate({"service": {"name": "gw", "instance": "one"}})

    attributes = resolve_resource(settings, {"OTEL_SERVICE_NAME": "chat"}).attributes

    assert (attributes["service.name"], attributes["service.instance.id"]) == ("gw", "one")


@pytest.mark.parametrize(
    ("environment", "ratio"),
    [
        ({}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, 1.0),
    ],
)
def test_the_sampler_variable_gives_the_share(environment, ratio):
    """Every sampler of the specification is understood as its share."""
    assert resolve_sampling(TelemetrySettings(), environment) == ratio


def test_a_share_in_the_settings_is_final():
    """``telemetry.sampling`` wins over the variable."""
    settings = TelemetrySettings(sampling=0.5)

    assert resolve_sampling(settings, {"OTEL_TRACES_SAMPLER": "always_off"}) == 0.5


def test_queues_and_interval_follow_their_variables():
    """Sizes and times of the standard variables are taken, times as milliseconds."""
    environment = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }

    assert resolve_limits("OTEL_BSP", environment) == QueueLimits(100, 100, 0.25)
    assert resolve_limits("OTEL_BLRP", environment) == QueueLimits()
    assert resolve_export_interval(TelemetrySettings(), environment) == 0.5


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "write one of always_off"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "not a share"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, "not a share"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "nonsense"}, "is not name=value"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "15s"}, "not a positive whole number"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "not a positive whole number"),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "11"},
            "more than the queue holds",
        ),
    ],
)
def test_variables_that_cannot_be_used_are_refused(environment, message):
    """A wrong variable is named, with what would be right."""

    def resolve() -> None:
        resolve_resource(Settings(), environment)
        resolve_sampling(TelemetrySettings(), environment)
        resolve_export_interval(TelemetrySettings(), environment)
        resolve_limits("OTEL_BSP", environment)

    with pytest.raises(ConfigurationError, match=message):
        resolve()


@pytest.mark.parametrize(("text", "disabled"), [("true", True), (" TRUE ", True), ("1", False)])
def test_only_true_disables_the_sdk(text, disabled):
    """The variable is a boolean as the specification writes it."""
    assert is_disabled({"OTEL_SDK_DISABLED": text}) is disabled


def test_a_key_needs_its_certificate(tmp_path):
    """A key alone in the settings is refused."""
    with pytest.raises(ConfigurationError) as refused:
        targets({}, endpoint=HERE, key_file=str(tmp_path / "key.pem"))

    assert "telemetry.otlp.key_file: a key without a certificate" in str(refused.value)


def test_how_metrics_are_sent_may_come_from_the_variable():
    """The setting wins; traces and logs are none of its business."""
    environment = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Delta"}

    found = targets(environment, endpoint=HERE)
    settled = targets(environment, endpoint=HERE, temporality="lowmemory")

    assert found["metrics"].temporality == "delta"
    assert found["traces"].temporality == "cumulative"
    assert settled["metrics"].temporality == "lowmemory"


def test_a_resource_equals_what_it_was_made_of():
    """What exporters group by it stays together though its hash is its own."""
    resource = resolve_resource(Settings(), {"OTEL_SERVICE_NAME": "chat"})
    plain = Resource(resource.attributes, resource.schema_url)

    assert {resource: 1}[plain] == 1
    assert resource == plain
    assert hash(resource) == hash(plain)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("authorization Bearer s3cret", 1),
        ("a=b, authorization: s3cret", 2),
        ("a=b,authorization=Basic s3cret,s3cret", 3),
        ("=s3cret", 1),
        ('authorization="s3cret"', 1),
        ("authorization=s3cret%0D%0Aother: 1", 1),
        ("authorization=s3cret%C4%80", 1),
    ],
)
def test_headers_that_cannot_be_read_are_refused_and_not_shown(
    text: str, number: int, caplog: pytest.LogCaptureFixture
):
    """What would be left out, or would fail with every request, is said before; it is a secret."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_HEADERS": text}

    with pytest.raises(ConfigurationError) as refusal:
        targets(environment)

    assert str(refusal.value).startswith("OTEL_EXPORTER_OTLP_HEADERS: ")
    assert f"header {number} " in str(refusal.value)
    assert "s3cret" not in str(refusal.value) + caplog.text


def test_headers_may_be_written_with_spaces_and_escapes():
    """As other SDKs have them."""
    text = " Authorization = Basic dTpw== ,, x-team=a%2Cb%20c,"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_HEADERS": text}

    found = targets(environment)["traces"].headers

    assert found == {"authorization": "Basic dTpw==", "x-team": "a,b c"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("authorization", "s3cret\n"), ("a", " s3cret"), ("x:y", "s3cret"), ("x", "s3cr\u20act")],
)
def test_headers_of_the_settings_that_cannot_be_sent_are_refused(name: str, value: str):
    """A line break at the end of a secret would make every export fail, and be in its error."""
    with pytest.raises(ConfigurationError) as refusal:
        targets({}, endpoint=HERE, headers={name: value})

    assert str(refusal.value).startswith(f"telemetry.otlp.headers.{name}: ")
    assert "s3cr" not in str(refusal.value)
