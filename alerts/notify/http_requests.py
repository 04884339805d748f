"""The requests that tell about a notification, made as a channel's file says."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from alerts.notify import body
from alerts.notify.channel_config import ChannelConfig
from alerts.notify.definition import (
    BodyLimit,
    ChannelDefinition,
    RequestDefinition,
    Signature,
)
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.expansion import Expander
from alerts.notify.setting_reader import is_http_url
from alerts.notify.settings import InFile, Seconds, SettingKind, Written
from alerts.notify.template_data import TemplateData
from alerts.notify.template_functions import split, to_value
from alerts.notify.templates import Moment, Text
from alerts.templates.errors import TemplateError
from alerts.templates.gotime import GoDuration
from alerts.templates.values import ANY, STRING, Function, Value

Encode = Callable[[object], bytes]
"""Returns a value as JSON."""

_CONTENT_TYPES: Final = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
}
_LEAST_BUDGET: Final = 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent.

    Attributes:
        method: HTTP method.
        url: Where to.
        headers: Header fields.
        body: The body.
        is_address_from_data: Whether data of alerts decided which host it goes to.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    is_address_from_data: bool


def _join_path(url: str, *parts: Value) -> str:
    tail = "/".join(str(part).strip("/") for part in parts)
    base, mark, query = url.partition("?")
    return f"{base.rstrip('/')}/{tail}{mark}{query}"


_FUNCTIONS: Final[dict[str, Function]] = {
    "joinPath": Function(_join_path, (STRING,), ANY),
    "split": Function(split, (STRING,)),
    "seconds": Function(lambda length: length.nanoseconds // 1_000_000_000, ("*time.Duration",)),
}


class RequestBuilder:
    """Makes the requests of one notification.

    Args:
        config: The entry; one that a catalogue read.
        definition: Its channel.
        expander: Expands its settings.
        encode: Makes JSON.
    """

    def __init__(
        self,
        config: ChannelConfig,
        definition: ChannelDefinition,
        expander: Expander,
        encode: Encode,
    ) -> None:
        self._config = config
        self._definition = definition
        self._expander = expander
        self._encode = encode
        self.settings = expander.all(definition.settings, config.settings)

    def requests(self) -> Iterator[Prepared]:
        """Yield the requests, in order.

        Raises:
            DeliveryError: One cannot be made; trying again makes no sense.
        """
        data = self._expander.data
        for definition in self._definition.requests:
            if definition.status in ("", data.status):
                alerts = range(len(data.alerts)) if definition.for_each_alert else (None,)
                yield from self._of(definition, alerts)

    def _of(self, definition: RequestDefinition, alerts: range | tuple[None]) -> Iterator[Prepared]:
        try:
            for alert in alerts:
                draft = _Draft(self, self.settings, alert)
                condition = definition.condition
                if condition is None or body.is_yes(draft.expand(condition)):
                    yield self._prepared(definition, draft)
        except (TemplateError, body.BodyError) as error:
            message = f"the request cannot be made: {error}"
            raise DeliveryError(message, FailureReason.TEMPLATE, permanent=True) from None

    def _prepared(self, definition: RequestDefinition, draft: _Draft) -> Prepared:
        content = self._content(definition, draft)
        url = draft.expand(definition.url)
        query = [(name, draft.expand(text)) for name, text in definition.query]
        if given := urlencode([pair for pair in query if pair[1]]):
            url += f"{'&' if '?' in url else '?'}{given}"
        if not is_http_url(url):
            message = "the URL that its template makes is none that begins with http(s)://host"
            raise DeliveryError(message, FailureReason.CONFIGURATION, permanent=True)
        headers = {name: " ".join(draft.expand(text).split()) for name, text in definition.headers}
        return Prepared(
            definition.method,
            url,
            {
                **({"Content-Type": _CONTENT_TYPES[definition.content]} if content else {}),
                **{name: text for name, text in headers.items() if text},
            },
            content,
            self._is_address_from_data(definition),
        )

    def _is_address_from_data(self, definition: RequestDefinition) -> bool:
        if definition.is_address_from_data:
            return True
        for name in definition.address_settings:
            setting = self._definition.setting(name)
            source = self._source(name)
            is_url = setting is not None and setting.kind.is_url
            if "{{" in source and not (is_url and has_fixed_host(source)):
                return True
        return False

    def _source(self, name: str) -> str:
        value = self._config.settings.get(name)
        match value:
            case Written():
                return value.text.source
            case InFile():
                return self._expander.files[value.path]
            case _:
                return ""

    # Bodies.

    def _content(self, definition: RequestDefinition, draft: _Draft) -> bytes:
        content = self._encoded(definition, draft)
        limit = self._definition.body_limit
        if limit is None or len(content) <= limit.size:
            return content
        return self._smaller(definition, draft, limit, len(content))

    def _encoded(self, definition: RequestDefinition, draft: _Draft) -> bytes:
        if definition.body is None:
            return b""
        content = body.render(definition.body, draft.body_values())
        if isinstance(content, str):
            return content.encode("utf-8", "replace")
        if definition.content == "form":
            fields = content.items() if isinstance(content, dict) else ()
            return urlencode([(name, _form_text(value)) for name, value in fields]).encode()
        return self._encode(content)

    def _smaller(
        self, definition: RequestDefinition, draft: _Draft, limit: BodyLimit, size: int
    ) -> bytes:
        settings = dict(draft.settings)
        for name in limit.omit:
            settings[name] = {"error": f"left out, as with it there were {size} bytes"}
        content = self._encoded(definition, replace(draft, settings=settings))
        if len(content) <= limit.size:
            return content
        low, high, best = _LEAST_BUDGET, limit.size, b""
        while limit.shorten and low <= high:
            budget = (low + high) // 2
            shorter = settings | {name: self._shortened(name, budget) for name in limit.shorten}
            content = self._encoded(definition, replace(draft, settings=shorter))
            if len(content) <= limit.size:
                low, best = budget + 1, content
            else:
                high = budget - 1
        if not best:
            message = f"the request would have {size} bytes, the receiver takes {limit.size}"
            raise DeliveryError(message, FailureReason.TOO_LARGE, permanent=True)
        return best

    def _shortened(self, name: str, max_bytes: int) -> str:
        definition = self._definition.setting(name)
        if definition is None:
            return ""
        return self._expander.shortened(definition, self._config.settings, max_bytes)

    # What templates see.

    def expand(self, text: Text, data: Value | TemplateData, variables: Mapping[str, Value]) -> str:
        """Return what a template of the channel file comes to."""
        moment = Moment(self._expander.moment.now_s, _FUNCTIONS, variables)
        return self._expander.library.expand(text, data, moment)

    def variables(self, settings: Mapping[str, object], alert: int | None) -> dict[str, Value]:
        """Return the variables of a request, which may be about one alert."""
        data = self._expander.data
        key = data.notification.group_key
        now_s = self._expander.moment.now_s
        found: dict[str, Value] = {
            "$settings": {name: _seen(value) for name, value in settings.items()},
            "$groupKey": key,
            "$groupKeyHash": hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(),
            "$notificationID": data.notification.id,
            "$timestamp": int(now_s),
            "$timestampMS": int(now_s * 1000),
            "$alert": None if alert is None else data.alerts[alert],
            "$signature": "",
        }
        signature = self._definition.signature
        if signature is not None:
            found["$signature"] = self._signed(signature, found)
        return found

    def _signed(self, signature: Signature, variables: Mapping[str, Value]) -> str:
        data = self._expander.data
        when, key, message = (
            self.expand(text, data, variables)
            for text in (signature.when, signature.key, signature.message)
        )
        return sign(key, message) if body.is_yes(when) else ""

    def setting_data(self, name: str, settings: Mapping[str, object]) -> object:
        """Return the value of a setting as JSON has it."""
        definition = self._definition.setting(name)
        value = settings.get(name)
        is_tree = definition is not None and definition.kind is SettingKind.TREE
        return value if is_tree else _without_empty(value)

    @property
    def data(self) -> TemplateData:
        """What is told."""
        return self._expander.data


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request in the making: the settings it is made with, and the alert it is about."""

    builder: RequestBuilder
    settings: Mapping[str, object]
    alert: int | None

    def expand(self, text: Text, alert: int | None = None) -> str:
        if text.tree is None:
            return text.source
        chosen = self.alert if alert is None else alert
        return self.builder.expand(
            text, self.builder.data, self.builder.variables(self.settings, chosen)
        )

    def body_values(self) -> body.BodyValues:
        builder = self.builder
        variables: dict[int | None, dict[str, Value]] = {}

        def expand(text: Text, alert: int | None) -> str:
            chosen = self.alert if alert is None else alert
            if text.tree is None:
                return text.source
            if chosen not in variables:
                variables[chosen] = builder.variables(self.settings, chosen)
            return builder.expand(text, builder.data, variables[chosen])

        return body.BodyValues(
            expand,
            lambda name: builder.setting_data(name, self.settings),
            builder.data.as_json,
            len(builder.data.alerts),
        )


def sign(key: str, message: str) -> str:
    """Return HMAC-SHA256 of a message in base64."""
    return base64.b64encode(hmac.digest(key.encode(), message.encode(), "sha256")).decode()


def has_fixed_host(url: str) -> bool:
    """Whether the host of a URL's template stands before everything the template fills in."""
    before = url.partition("{{")[0]
    scheme, colon, rest = before.partition("://")
    host = rest.partition("/")
    return bool(colon) and scheme in ("http", "https") and bool(host[0]) and bool(host[1])


def _seen(value: object) -> Value:
    """Return a setting as templates see it."""
    match value:
        case Seconds():
            return GoDuration(round(value.seconds * 1e9))
        case dict():
            return {str(name): _seen(item) for name, item in value.items()}
        case _:
            return to_value(value)


def _without_empty(value: object) -> object:
    match value:
        case Seconds():
            return value.seconds
        case dict():
            found = {name: _without_empty(item) for name, item in value.items()}
            return {name: item for name, item in found.items() if item not in body.EMPTY}
        case list():
            return [_without_empty(item) for item in value]
        case _:
            return value


def _form_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
