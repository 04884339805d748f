"""Value types of the settings, and the refusal of settings that contradict each other.

The JSON schema formats given here (``duration``, ``byte-size``, ``path``, ``password``) are what
``service.config.shapes`` goes by when it says what a key takes.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from alerts.durations import format_duration, parse_duration
from alerts.promql.features import known_feature

HIDDEN = "***"
"""What is printed in place of a secret; refused as a secret, so that it is not copied back."""

_SIZE = re.compile(r"([0-9]{1,18})\s*(B|KiB|MiB|GiB|kB|MB|GB)?", re.ASCII)
_SIZE_UNITS = {
    None: 1,
    "B": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
}
_MIN_QUEUE_BYTES = 16 * 1024
_NAMESPACE = r"^[-a-zA-Z0-9_]{2,}$"
_UPSTREAM = r"^[-a-zA-Z0-9_.]{2,}$"
_CHECK = r"^[a-zA-Z0-9][-a-zA-Z0-9_. ]{0,127}$"


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a duration; write one such as 30s or 1h30m")  # noqa: TRY004
    if value == 0:
        return 0.0
    raise ValueError(f"{value!r} has no unit; write {value}s for {value} seconds")


def _bytes(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size; write one such as 512B, 64KiB or 1MiB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def format_size(size: int) -> str:
    """Return a size with the largest binary unit that divides it."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "duration", "pattern": "^([0-9]+(y|w|d|h|m|s|ms))+$|^0$"}
    ),
]
"""Seconds; written as a Prometheus duration."""

PositiveDuration = Annotated[Duration, Field(gt=0)]
"""A duration longer than nothing."""

Size = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(gt=0),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "format": "byte-size"}),
]
"""Bytes; written with a unit, such as 64KiB."""


def _queue_size(value: int) -> int:
    if value < _MIN_QUEUE_BYTES:
        raise ValueError(f"{format_size(value)} has no room for a message; 16KiB are the least")
    return value


QueueSize = Annotated[Size, AfterValidator(_queue_size)]
"""Bytes that may wait for one client: at least a small message and what is around it."""


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty; give it a value or remove the key")
    if text == HIDDEN:
        raise ValueError(f"{HIDDEN} only stands for a secret that was hidden; write the secret")
    return value


def _trace_url_template(value: str) -> str:
    if value and (value.count("{trace_id}") != 1 or not value.startswith(("http://", "https://"))):
        raise ValueError(
            f"{value!r} is no page of a trace; write a URL with {{trace_id}} in it, such as "
            "http://127.0.0.1:16686/trace/{trace_id}"
        )
    return value


TraceURLTemplate = Annotated[str, AfterValidator(_trace_url_template)]
"""The URL of a trace's page with ``{trace_id}`` in place of the id; empty: none."""

Secret = Annotated[SecretStr, AfterValidator(_secret)]
"""Text that is never printed, and never empty."""


def _public_key(value: str) -> str:
    if "PRIVATE KEY" in value:
        raise ValueError(
            "is a private key, which stays with whoever signs; take the public one, "
            "as openssl pkey -pubout prints it"
        )
    return value


PublicKey = Annotated[str, AfterValidator(_public_key)]
"""A public key in PEM; empty: none."""


def _namespace_name(value: str) -> str:
    if re.fullmatch(_NAMESPACE, value) is None:
        raise ValueError(
            f"{value!r} is no name for a namespace; "
            "use two or more of the characters a-z A-Z 0-9 - _"
        )
    return value


def _upstream_name(value: str) -> str:
    if re.fullmatch(_UPSTREAM, value) is None:
        raise ValueError(
            f"{value!r} is no name for a back end or a namespace of methods; "
            "use two or more of the characters a-z A-Z 0-9 - _ ."
        )
    return value


def _check_name(value: str) -> str:
    if re.fullmatch(_CHECK, value) is None:
        raise ValueError(
            f"{value!r} is no name for a check; begin with a letter or digit and go on with "
            "letters, digits, spaces and - _ . up to 128 characters"
        )
    return value


def _namespace_or_none(value: str) -> str:
    return _namespace_name(value) if value else value


NamespaceName = Annotated[
    str,
    AfterValidator(_namespace_name),
    WithJsonSchema({"type": "string", "pattern": _NAMESPACE}),
]
"""The part of a channel name before the colon."""

NamespaceOrNone = Annotated[str, AfterValidator(_namespace_or_none)]
"""The same, or empty for channels without one."""

UpstreamName = Annotated[
    str,
    AfterValidator(_upstream_name),
    WithJsonSchema({"type": "string", "pattern": _UPSTREAM}),
]
"""The name of a back end, or the part of a method's name before the colon."""

CheckName = Annotated[
    str,
    AfterValidator(_check_name),
    WithJsonSchema({"type": "string", "pattern": _CHECK}),
]
"""The name of a health check."""

PromQLFeature = Annotated[str, AfterValidator(known_feature)]
"""A feature flag of Prometheus that the engine knows."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OWN_HEADERS = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
    )
)
"""What a request to a back end says by itself, or what belongs to one connection only."""


def _forwarded_header(value: str) -> str:
    if _HEADER_NAME.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no name of a header; write one such as Cookie")
    if value.lower() in _OWN_HEADERS or value.lower().startswith("sec-websocket-"):
        raise ValueError(
            f"{value} belongs to the request that carries it and is not passed on; remove it"
        )
    return value


ForwardedHeader = Annotated[str, AfterValidator(_forwarded_header)]
"""Name of a header that a request to a back end may carry."""

Port = Annotated[int, Field(ge=0, le=65535, strict=True)]
"""A TCP port; 0 lets the system pick one."""

Count = Annotated[int, Field(ge=1, strict=True)]
"""How many of something; at least one."""

Amount = Annotated[int, Field(ge=0, strict=True)]
"""How many of something; 0 turns it off."""


def contradiction(message: str, *paths: tuple[str | int, ...]) -> PydanticCustomError:
    """Return the error for values that are fine alone and do not go together.

    Args:
        message: What is wrong and what would be right, in one sentence.
        paths: The values concerned, from the section that raises the error; the problem is
            reported at the first of them that was given.
    """
    return PydanticCustomError("contradiction", "{message}", {"message": message, "paths": paths})
