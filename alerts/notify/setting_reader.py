"""Reads the settings of an entry, as its channel's definition says.

Problems name the place in the file; what was written is repeated only where it is no secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from alerts.documents import ValuePath
from alerts.errors import Problem
from alerts.notify.settings import (
    InFile,
    Seconds,
    SettingDefinition,
    SettingKind,
    Value,
    Written,
)
from alerts.notify.templates import Text
from alerts.sections import Keys, Section
from alerts.templates.errors import TemplateError

FILE: Final = "_file"
"""Ending of the key that names a file in which a text stands."""


def keys_of(definitions: Sequence[SettingDefinition]) -> tuple[str, ...]:
    """Return the keys an entry may have for settings."""
    return tuple(
        key
        for definition in definitions
        for key in (definition.name, f"{definition.name}{FILE}")
        if key == definition.name or definition.kind.is_text
    )


def read_settings(
    definitions: Sequence[SettingDefinition],
    section: Section,
    defaults: Section | None,
    alternatives: Sequence[Sequence[str]] = (),
) -> dict[str, Value]:
    """Return what the settings of an entry are; problems are reported to the section.

    Args:
        definitions: The settings there are.
        section: The entry.
        defaults: The section ``global``.
        alternatives: Names of settings of which one, and only one, must be set.
    """
    reader = _Reader(section)
    values = {each.name: reader.setting(each, defaults, alternatives) for each in definitions}
    for names in alternatives:
        _check_alternative(names, section, values, definitions)
    return values


def read_value(definition: SettingDefinition, section: Section, key: str) -> Value:
    """Return what a key of a section sets a setting to; problems are reported to the section."""
    return _Reader(section).value(definition, key)


def _check_alternative(
    names: Sequence[str],
    section: Section,
    values: Mapping[str, Value],
    definitions: Sequence[SettingDefinition],
) -> None:
    given = [name for name in names if _is_set(section, name)]
    if len(given) > 1:
        section.report(given[1], f"{' and '.join(given)} exclude each other; set one of them")
    elif not given and all(values.get(name) in (None, ()) for name in names):
        keys = {each.name: each.global_key for each in definitions}
        options = [*names, *(f"global.{keys[name]}" for name in names if keys.get(name))]
        section.report(None, f"one of these must be set: {', '.join(options)}")


def _is_set(section: Section, name: str) -> bool:
    return section.has(name) or section.has(f"{name}{FILE}")


@dataclass(frozen=True, slots=True)
class _Reader:
    section: Section

    def setting(
        self,
        definition: SettingDefinition,
        defaults: Section | None,
        alternatives: Sequence[Sequence[str]],
    ) -> Value:
        name = definition.name
        if _is_set(self.section, name):
            return self._own(definition)
        # What an entry says itself is not mixed with what is said for all entries.
        is_replaced = any(
            name in names and any(_is_set(self.section, other) for other in names)
            for names in alternatives
        )
        key = definition.global_key
        if key and defaults is not None and not is_replaced and _is_set(defaults, key):
            return _Reader(defaults).named(definition, key)
        if definition.required and definition.default is None:
            also = f", and so is global.{key}" if key else ""
            self.section.report(None, f"{name} is missing{also}")
        return definition.default

    def _own(self, definition: SettingDefinition) -> Value:
        name = definition.name
        if definition.refused and self.section.data.get(name) is not False:
            self.section.report(name, f"{name} {definition.refused}", of_key=True)
            return definition.default
        return self.named(definition, name)

    def named(self, definition: SettingDefinition, key: str) -> Value:
        """Return a value by its key, or by the key of its file."""
        if not definition.kind.is_text or not self.section.has(f"{key}{FILE}"):
            return self.value(definition, key)
        if self.section.has(key):
            self.section.report(f"{key}{FILE}", f"{key} and {key}{FILE} exclude each other")
        folder = Path(self.section.document.file).parent
        path = folder / self.section.text(f"{key}{FILE}")
        return InFile(path, is_secret=definition.kind.is_secret)

    def value(  # noqa: PLR0911 - a case for each kind
        self, definition: SettingDefinition, key: str
    ) -> Value:
        """Return what a key sets a setting to."""
        section = self.section
        match definition.kind:
            case SettingKind.FLAG:
                return section.flag(key, default=False)
            case SettingKind.NUMBER:
                return section.count(key)
            case SettingKind.DURATION:
                return Seconds(section.duration(key, 0.0))
            case SettingKind.LIST:
                return self._list(definition, key)
            case SettingKind.GROUP:
                inner = section.open_section(key)
                return None if inner is None else read_group(definition, inner)
            case SettingKind.MAPPING:
                return self._mapping(definition, key)
            case SettingKind.TREE:
                return self._tree(section.data[key], (*section.path, key), definition)
            case _:
                return self._text(definition, key)

    def _text(self, definition: SettingDefinition, key: str) -> Value:
        section = self.section
        source = section.text(key) if definition.kind.is_secret else section.text(key).strip("\0")
        if not source:
            if definition.required and not isinstance(section.data.get(key), dict | list):
                section.report(key, f"{key} must not be empty")
            return Written(Text(""), definition.kind.is_secret)
        problem = self._mistake(definition, key, source)
        if problem:
            section.report(key, problem)
        path = (*section.path, key)
        return self._written(source, path, definition)

    def _mistake(self, definition: SettingDefinition, key: str, source: str) -> str:
        is_template = "{{" in source
        if definition.kind.is_url and not is_template and not is_http_url(source):
            # What was given may hold a token, so it is not repeated.
            return f"{key} is no URL that can be requested; it begins with http(s)://host"
        if is_template:
            return ""
        if definition.choices and source not in definition.choices:
            known = ", ".join(repr(choice) for choice in definition.choices)
            shown = "" if definition.kind.is_secret else f", not {source!r}"
            return f"{key} must be one of {known}{shown}"
        if definition.pattern and not re.fullmatch(definition.pattern, source):
            return f"{key} must match {definition.pattern}"
        return ""

    def _written(self, source: str, path: ValuePath, definition: SettingDefinition) -> Written:
        is_secret = definition.kind.is_secret
        try:
            return Written(Text.parse(source), is_secret)
        except TemplateError as error:
            name = path[-1]
            where = self.section.document
            place = where.position_after(path, source[: error.offset]) or where.position(path)
            problem = Problem(where.file, place.line, place.column, f"{name}: {error}")
            self.section.problems.append(problem)
            return Written(Text(""), is_secret)

    def _list(self, definition: SettingDefinition, key: str) -> tuple[Value, ...]:
        items = definition.items
        section = self.section
        if items is None or items.kind is SettingKind.TEXT:
            texts = section.texts(key)
            path = (*section.path, key)
            inner = items or SettingDefinition(key, SettingKind.TEXT)
            return tuple(
                self._written(text, (*path, index), inner) for index, text in enumerate(texts)
            )
        known = Keys(keys_of(items.keys))
        return tuple(
            read_group(items, inner, section)
            for inner in section.sections(key, known, f"an item of {key}")
        )

    def _mapping(self, definition: SettingDefinition, key: str) -> dict[str, Value]:
        path = (*self.section.path, key)
        inner = SettingDefinition(key, SettingKind.TEXT)
        return {
            name: self._written(text, (*path, name), inner)
            for name, text in self.section.text_map(key).items()
        }

    def _tree(self, data: object, path: ValuePath, definition: SettingDefinition) -> Value:
        match data:
            case dict():
                return {
                    str(name): self._tree(item, (*path, str(name)), definition)
                    for name, item in data.items()
                }
            case list():
                return tuple(
                    self._tree(item, (*path, index), definition) for index, item in enumerate(data)
                )
            case str():
                return self._written(data, path, definition)
            case None | bool() | int() | float():
                return data
            case _:
                text = self.section.document.texts.get(path, str(data))
                return self._written(text, path, definition)


def read_group(
    definition: SettingDefinition, section: Section, around: Section | None = None
) -> dict[str, Value]:
    """Return the settings of a group, such as an item of a list.

    Args:
        definition: The group.
        section: What is written.
        around: The entry it stands in, which may give defaults.
    """
    if around is None:
        section.check_keys(Keys(keys_of(definition.keys)), definition.name)
    values = read_settings(definition.keys, section, None)
    for key in definition.keys:
        other = key.default_setting
        if other and values[key.name] is None and around is not None and around.has(other):
            values[key.name] = read_value(key, around, other)
    return values


def is_http_url(text: str) -> bool:
    """Whether a text is a URL that can be requested."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not any(letter.isspace() for letter in text)
        )
    except ValueError:
        return False
