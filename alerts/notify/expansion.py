"""The settings of an entry as one notification makes them: templates expanded, texts shortened.

A template that fails must not lose the notification. Its setting then is what it is by default,
which does not fail; a required one, which says where a message goes, has no such default, and the
attempt fails for good.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count as count_up
from pathlib import Path
from typing import Final

from alerts.documents import parse_document
from alerts.errors import DocumentError
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.html_text import escape_text
from alerts.notify.notification import Notification
from alerts.notify.settings import (
    InFile,
    Limit,
    Seconds,
    SettingDefinition,
    SettingKind,
    Value,
    Written,
)
from alerts.notify.template_data import TemplateData
from alerts.notify.templates import Moment, TemplateLibrary, Text
from alerts.notify.truncation import ELLIPSIS, fits, size_of, truncate, truncate_lines
from alerts.templates.errors import TemplateError

_LOG: Final = logging.getLogger(__name__)

_MAX_STRUCTURED: Final = 1_000_000
_GUESSES: Final = 6


@dataclass(frozen=True, slots=True)
class Expander:
    """Expands the settings of an entry for one notification.

    Attributes:
        channel: Key of the channel, for messages.
        library: The named templates.
        data: What is told.
        moment: When.
        files: The texts that stand in files.
        failed: Called for each template that fails.
    """

    channel: str
    library: TemplateLibrary
    data: TemplateData
    moment: Moment
    files: Mapping[Path, str] = field(default_factory=dict)
    failed: Callable[[], None] = lambda: None

    def all(
        self, definitions: tuple[SettingDefinition, ...], values: Mapping[str, Value]
    ) -> dict[str, object]:
        """Return all settings as plain data; a text that is not set is empty.

        Raises:
            DeliveryError: A required one cannot be expanded.
        """
        found: dict[str, object] = {}
        for definition in definitions:
            value = self._setting(definition, values)
            if value is None and definition.kind.is_text:
                value = ""
            found[definition.name] = value
        return found

    def shortened(
        self, definition: SettingDefinition, values: Mapping[str, Value], max_bytes: int
    ) -> str:
        """Return the text of a setting in at most so many bytes."""
        cut = definition.limit.cut if definition.limit is not None else "lines"
        limited = replace(definition, limit=Limit(max_bytes, "bytes", cut))
        return str(self._setting(limited, values) or "")

    def _setting(self, definition: SettingDefinition, values: Mapping[str, Value]) -> object:
        value = values.get(definition.name)
        if definition.kind.is_text:
            return None if value is None else self._text(definition, value, values)
        try:
            return self._plain(definition, value)
        except TemplateError as error:
            self._report(definition, error)
            try:
                return self._plain(definition, definition.default)
            except TemplateError:
                return None

    def _report(self, definition: SettingDefinition, error: Exception) -> None:
        self.failed()
        _LOG.error("the text of %s in %s cannot be made: %s", definition.name, self.channel, error)

    # Texts.

    def _text(
        self, definition: SettingDefinition, value: Value, values: Mapping[str, Value]
    ) -> str:
        as_html = _is_html(definition, values)
        try:
            return self._limited(self._template(value), definition, as_html=as_html)
        except TemplateError as error:
            self._report(definition, error)
            if definition.required or definition.kind.is_url or definition.kind.is_secret:
                message = f"the template of {definition.name} fails: {error}"
                raise DeliveryError(message, FailureReason.TEMPLATE, permanent=True) from None
        try:
            return self._limited(self._template(definition.default), definition, as_html=as_html)
        except TemplateError as error:
            # The user's files can replace what defaults are made of.
            self._report(definition, error)
            return self._plain_text(definition, as_html=as_html)

    def _template(self, value: Value) -> Text:
        match value:
            case Written():
                return value.text
            case InFile():
                return Text.parse(self.files[value.path])
            case _:
                return Text("" if value is None else str(value))

    def _limited(self, text: Text, definition: SettingDefinition, *, as_html: bool) -> str:
        whole = self._expanded(text, self.data, as_html=as_html)
        limit = definition.limit
        if limit is None or fits(whole, limit):
            return whole
        _LOG.warning("%s in %s is too long and is shortened", definition.name, self.channel)
        if (limit.cut == "alerts" or as_html) and text.tree is not None:
            length = size_of(whole, limit)
            shorter = self._with_fewer_alerts(text, limit, length, as_html=as_html)
            if shorter is not None:
                return shorter
        if as_html:  # cut anywhere, its tags would not close
            return self._plain_text(definition, as_html=True)
        return truncate(whole, limit) if limit.cut == "end" else truncate_lines(whole, limit)

    def _expanded(self, text: Text, data: TemplateData, *, as_html: bool) -> str:
        return self.library.expand(text, data, self.moment, as_html=as_html)

    def _with_fewer_alerts(
        self, text: Text, limit: Limit, length: int, *, as_html: bool
    ) -> str | None:
        """Return the text with as many alerts as fit, None when not even one does."""
        low, high, best = 0, len(self.data.alerts) - 1, None
        count = min(high, high * limit.size // max(1, length))
        for step in count_up():
            if low >= high:
                break
            if step >= _GUESSES:
                count = (low + high + 1) // 2
            count = min(max(count, low + 1), high)
            shorter = self._of_alerts(text, count, as_html=as_html)
            length = size_of(shorter, limit)
            if length <= limit.size:
                low, best = count, shorter
            else:
                high = count - 1
            # Alerts are about equally long, so this is nearer than the middle.
            count = count * limit.size // max(1, length)
        return best

    def _of_alerts(self, text: Text, count: int, *, as_html: bool) -> str:
        notification = self.data.notification
        data = TemplateData.of(notification, self.data.external_url, max_alerts=count)
        shown = self._expanded(text, data, as_html=as_html).rstrip("\n")
        return f"{shown}\n{ELLIPSIS} and {data.omitted} more"

    def _plain_text(self, definition: SettingDefinition, *, as_html: bool) -> str:
        text = plain_text(self.data.notification)
        limit = definition.limit
        if as_html:
            size = limit.size if limit is not None else len(text)
            while limit is not None and not fits(escape_text(text), limit):
                size = size * 3 // 4
                text = truncate(text, replace(limit, size=size))
            return escape_text(text)
        return text if limit is None else truncate(text, limit)

    # Everything else.

    def _plain(self, definition: SettingDefinition, value: Value) -> object:
        """Return a value as plain data."""
        match value:
            case None | bool() | int() | float():
                return value
            case Seconds():
                return value
            case Written() | InFile():
                expanded = self._expanded(self._template(value), self.data, as_html=False)
                return _structured(expanded) if definition.kind is SettingKind.TREE else expanded
            case tuple():
                items = [self._item(definition, item) for item in value]
                is_tree = definition.kind is SettingKind.TREE
                return items if is_tree else [item for item in items if item not in ("", None)]
            case _:
                return self._mapping(definition, value)

    def _item(self, definition: SettingDefinition, value: Value) -> object:
        if definition.kind is SettingKind.LIST and definition.items is not None:
            return self._plain(definition.items, value)
        return self._plain(definition, value)

    def _mapping(
        self, definition: SettingDefinition, value: Mapping[str, Value]
    ) -> dict[str, object]:
        if definition.kind is SettingKind.GROUP:
            keys = {key.name: key for key in definition.keys}
            return self.all(tuple(keys.values()), value)
        return {
            self._expanded(_key(name), self.data, as_html=False): self._plain(definition, item)
            for name, item in value.items()
        }


def _key(name: str) -> Text:
    try:
        return Text.parse(name)
    except TemplateError:
        return Text(name)


def _is_html(definition: SettingDefinition, values: Mapping[str, Value]) -> bool:
    if not isinstance(definition.html, tuple):
        return definition.html
    other, wanted = definition.html
    value = values.get(other)
    if isinstance(value, Written):
        return value.text.source == wanted
    return str(value).lower() == wanted


def _structured(text: str) -> object:
    """Return what a text of a payload means as YAML; a text when it means no more than that.

    Source: Alertmanager, template/template.go (DeepCopyWithTemplate).
    """
    if len(text) > _MAX_STRUCTURED:
        return text
    try:
        data = parse_document(text, "payload").data
    except DocumentError:
        return text
    return data if _is_json(data) else text


def _is_json(data: object) -> bool:
    match data:
        case str() | date():
            return False
        case float():
            return math.isfinite(data)
        case dict():
            return all(isinstance(item, str) or _is_json(item) for item in data.values())
        case list():
            return all(isinstance(item, str) or _is_json(item) for item in data)
        case _:
            return True


def plain_text(notification: Notification) -> str:
    """Return what is told when no template can be used: which alerts, and which have ended."""
    lines = [f"{notification.receiver}: {len(notification.alerts)} alert(s)"]
    for alert in notification.alerts:
        state = "firing" if alert.ends_at_ms is None else "resolved"
        text = alert.annotations.get("summary", "")
        lines.append(f"{state} {alert.labels!r} {text}".rstrip())
    return "\n".join(lines)
