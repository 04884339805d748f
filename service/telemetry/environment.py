"""The standard ``OTEL_*`` variables that fill what the settings leave open.

Those of the OTLP exporters are in ``otlp``; span, attribute and link limits, the exemplar filter
and resource detectors are read by the SDK's own classes. The environment is an argument: nothing
here reads ``os.environ``.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits

from alerts.errors import Problem
from service import __version__
from service.config.settings import Settings
from service.config.telemetry_settings import TelemetrySettings
from service.errors import ConfigurationError
from service.telemetry.export import QueueLimits
from service.telemetry.sampling_rules import SamplingRule

_FIXED_SAMPLERS: Final = {
    "always_on": 1.0,
    "parentbased_always_on": 1.0,
    "always_off": 0.0,
    "parentbased_always_off": 0.0,
}
_RATIO_SAMPLERS: Final = frozenset({"traceidratio", "parentbased_traceidratio"})


class HashedResource(Resource):
    """A resource that knows its hash.

    The exporter of logs groups records by resource. The SDK's hash is that of its JSON, which it
    makes again for each of them.
    """

    def __init__(self, resource: Resource) -> None:
        """Be equal to a resource, and have its hash."""
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


_SPAN_LIMITS: Final = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)


def is_disabled(environment: Mapping[str, str]) -> bool:
    """Whether ``OTEL_SDK_DISABLED`` switches all telemetry off, that of the rules included."""
    return environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def resolve_resource(settings: Settings, environment: Mapping[str, str]) -> Resource:
    """Return who this process is.

    Settings that are written down win over ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``,
    which win over the defaults.

    Raises:
        ConfigurationError: ``OTEL_RESOURCE_ATTRIBUTES`` is not a list of ``name=value``.
    """
    service = settings.service
    port = settings.gateway.port
    attributes = {
        "service.name": service.name,
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{port}",
    }
    attributes.update(_resource_attributes(environment))
    if environment.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = environment["OTEL_SERVICE_NAME"]
    if "name" in service.model_fields_set:
        attributes["service.name"] = service.name
    if service.instance:
        attributes["service.instance.id"] = service.instance
    if service.environment:
        attributes["deployment.environment.name"] = service.environment
    return HashedResource(Resource.create(dict(attributes)))


def resolve_sampling(settings: TelemetrySettings, environment: Mapping[str, str]) -> float:
    """Return the share of traces to record: the setting, else ``OTEL_TRACES_SAMPLER``.

    The sampler gives the share only. Whatever it is called, decisions of callers are honoured
    within that share.

    Raises:
        ConfigurationError: The sampler is unknown or its argument is no share.
    """
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if "sampling" in settings.model_fields_set or not sampler:
        return settings.sampling
    if sampler in _FIXED_SAMPLERS:
        return _FIXED_SAMPLERS[sampler]
    if sampler not in _RATIO_SAMPLERS:
        known = ", ".join(sorted({*_FIXED_SAMPLERS, *_RATIO_SAMPLERS}))
        raise _problem("OTEL_TRACES_SAMPLER", f"{sampler!r} is not supported; write one of {known}")
    argument = environment.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        ratio = float(argument)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise _problem(
            "OTEL_TRACES_SAMPLER_ARG", f"{argument!r} is not a share; write a number from 0 to 1"
        )
    return ratio


def resolve_sampling_rules(settings: TelemetrySettings) -> tuple[SamplingRule, ...]:
    """Return the shares that the settings give to some traces."""
    return tuple(
        SamplingRule(rule.ratio, rule.name, rule.namespace) for rule in settings.sampling_rules
    )


def resolve_export_interval(settings: TelemetrySettings, environment: Mapping[str, str]) -> float:
    """Return how often metrics are sent, in seconds.

    Raises:
        ConfigurationError: ``OTEL_METRIC_EXPORT_INTERVAL`` is not a number of milliseconds.
    """
    if "export_interval" in settings.model_fields_set:
        return settings.export_interval
    default_ms = round(settings.export_interval * 1000)
    return _number(environment, "OTEL_METRIC_EXPORT_INTERVAL", default_ms) / 1000


def resolve_limits(prefix: str, environment: Mapping[str, str]) -> QueueLimits:
    """Return the limits of a queue: ``OTEL_BSP_...`` of spans, ``OTEL_BLRP_...`` of log records.

    Raises:
        ConfigurationError: A variable is not a positive number, or a batch exceeds the queue.
    """
    default = QueueLimits()
    max_items = _number(environment, f"{prefix}_MAX_QUEUE_SIZE", default.max_items)
    batch = f"{prefix}_MAX_EXPORT_BATCH_SIZE"
    max_batch = _number(environment, batch, min(default.max_batch, max_items))
    if max_batch > max_items:
        raise _problem(batch, f"{max_batch} is more than the queue holds ({max_items})")
    delay_ms = _number(environment, f"{prefix}_SCHEDULE_DELAY", round(default.delay_s * 1000))
    return QueueLimits(max_items, max_batch, delay_ms / 1000)


def resolve_span_limits(environment: Mapping[str, str]) -> SpanLimits:
    """Return the limits of spans: ``OTEL_..._LIMIT``, which the SDK reads itself; empty is none.

    Raises:
        ConfigurationError: A variable is not a whole number of 0 or more.
    """
    for variable in _SPAN_LIMITS:
        text = environment.get(variable, "").strip()
        if text and not text.isdecimal():
            raise _problem(variable, f"{text!r} is not a whole number of 0 or more")
    return SpanLimits()


def _resource_attributes(environment: Mapping[str, str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for item in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        if not item.strip():
            continue
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise _problem("OTEL_RESOURCE_ATTRIBUTES", f"{item!r} is not name=value")
        attributes[name.strip()] = unquote(value.strip())
    return attributes


def _number(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise _problem(variable, f"{text!r} is not a positive whole number")
    return int(text)


def _problem(variable: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(variable, 0, 0, message)])
