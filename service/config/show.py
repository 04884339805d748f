"""Settings as people write them, with secrets hidden."""

from __future__ import annotations

from typing import Any

import yaml

from alerts.documents import ValuePath, parse_document
from service.config.hiding import hide_secrets_of_urls, is_telling
from service.config.settings import Settings
from service.config.shapes import Shape, settings_shape
from service.config.sources import LoadedSettings
from service.config.types import HIDDEN

_NEVER_FOLD = 1_000_000


def plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as dicts, lists and scalars, secrets hidden."""
    root = settings_shape()
    data = settings.model_dump(mode="json")
    return {key: _hidden(value, root.child(key), key) for key, value in data.items()}


def as_yaml(loaded: LoadedSettings) -> str:
    """Return the settings as YAML; what was set says where, in a comment behind it."""
    text = yaml.safe_dump(
        plain(loaded.settings), sort_keys=False, allow_unicode=True, width=_NEVER_FOLD
    )
    lines = text.splitlines()
    document = parse_document(text, "")
    for path, origin in loaded.origins.items():
        place = document.keys.get(path)
        if place is not None and not _spans_lines(document.data, path):
            lines[place.line - 1] += f"  # {origin}"
    return "\n".join(lines)


def _hidden(value: Any, shape: Shape | None, key: str) -> Any:
    if value is None:
        return None
    if shape is not None and shape.is_secret:
        return HIDDEN
    if isinstance(value, dict):
        return {
            name: HIDDEN
            if key == "headers" and is_telling(name)
            else _hidden(inner, _inside(shape, name), name)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_hidden(item, _inside(shape, index), "") for index, item in enumerate(value)]
    return hide_secrets_of_urls(value) if isinstance(value, str) else value


def _inside(shape: Shape | None, step: str | int) -> Shape | None:
    return shape.child(step) if shape is not None else None


def _spans_lines(data: Any, path: ValuePath) -> bool:
    """Whether a text has lines of its own, so that a comment would become part of it."""
    for step in path:
        data = data[step]
    return isinstance(data, str) and "\n" in data
