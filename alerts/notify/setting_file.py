"""Reads what a channel file says of settings."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, Literal

from alerts.notify.setting_reader import read_value
from alerts.notify.settings import Limit, SettingDefinition, SettingKind
from alerts.sections import Keys, Section

_KEYS: Final = Keys(
    (
        "type",
        "description",
        "default",
        "required",
        "global",
        "limit",
        "choices",
        "pattern",
        "html",
        "html_when",
        "items",
        "keys",
        "default_setting",
        "refused",
    )
)
_LIMIT_KEYS: Final = Keys(("characters", "bytes", "cut"))
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED: Final = frozenset(("send_resolved", "http_config", "timeout"))


def read_setting_definitions(section: Section, key: str) -> tuple[SettingDefinition, ...]:
    """Return the settings of a channel or of a group; problems are reported to the section."""
    inner = section.open_section(key)
    if inner is None:
        return ()
    found: list[SettingDefinition] = []
    for name in inner.data:
        if _NAME.fullmatch(name) is None:
            inner.report(name, f"{name!r} is no name of a setting: a-z, 0-9 and _", of_key=True)
        elif name in _RESERVED:
            inner.report(name, f"every channel has {name} already", of_key=True)
        elif (setting := inner.section(name, _KEYS)) is not None:
            found.append(_definition(name, setting))
    return tuple(found)


def _definition(name: str, section: Section) -> SettingDefinition:
    kind = _kind(section)
    keys = read_setting_definitions(section, "keys")
    items = None
    if section.has("items"):
        inner = read_setting_definitions(section, "items")
        items = SettingDefinition(name, SettingKind.GROUP, keys=inner)
    html: bool | tuple[str, str] = section.flag("html", default=False)
    for other, text in section.text_map("html_when").items():
        html = (other, text)
    definition = SettingDefinition(
        name=name,
        kind=kind,
        description=section.text("description"),
        required=section.flag("required", default=False),
        global_key=section.text("global"),
        limit=_limit(section),
        choices=tuple(section.texts("choices")),
        pattern=_pattern(section),
        html=html,
        items=items,
        keys=keys,
        default_setting=section.text("default_setting"),
        refused=section.text("refused"),
    )
    if kind is SettingKind.GROUP and not keys:
        section.report(None, f"{name} is a group; its keys are missing")
    return _with_default(definition, section)


def _kind(section: Section) -> SettingKind:
    text = section.required_text("type")
    try:
        return SettingKind(text)
    except ValueError:
        if text:
            known = ", ".join(SettingKind)
            section.report("type", f"there is no type {text!r} of settings; known are {known}")
        return SettingKind.TEXT


def _pattern(section: Section) -> str:
    text = section.text("pattern")
    try:
        re.compile(text)
    except re.error as error:
        section.report("pattern", f"no regular expression: {error}")
        return ""
    return text


def _limit(section: Section) -> Limit | None:
    inner = section.section("limit", _LIMIT_KEYS)
    if inner is None:
        return None
    if inner.has("characters") == inner.has("bytes"):
        inner.report(None, "a limit has either characters or bytes")
    unit: Literal["characters", "bytes"] = "bytes" if inner.has("bytes") else "characters"
    size = inner.count(unit, 1)
    if size < 1:
        inner.report(unit, f"{unit} must be 1 or more")
    match inner.text("cut", "end"):
        case "end":
            return Limit(size, unit, "end")
        case "lines":
            return Limit(size, unit, "lines")
        case "alerts":
            return Limit(size, unit, "alerts")
        case other:
            inner.report("cut", f"cut must be 'end', 'lines' or 'alerts', not {other!r}")
            return None


def _with_default(definition: SettingDefinition, section: Section) -> SettingDefinition:
    if "default" not in section.data or section.data["default"] is None:
        return definition
    return replace(definition, default=read_value(definition, section, "default"))
