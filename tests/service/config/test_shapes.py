"""The schema of the settings, and what is told from it."""

from collections.abc import Iterator
from typing import Any

import pytest

from service.config.shapes import dotted, settings_schema, settings_shape


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in (schema, *schema["$defs"].values()):
        yield from section["properties"].items()


def test_every_key_is_described():
    """Each key of the schema says in one line what it is for."""
    for name, node in properties(settings_schema()):
        assert node["description"], name
        assert "\n" not in node["description"], name


def test_defaults_have_units():
    """Defaults stand in the schema as they would in the file."""
    gateway = settings_schema()["$defs"]["GatewaySettings"]["properties"]

    assert gateway["idle_timeout"]["default"] == "5m"
    assert gateway["max_message_size"]["default"] == "64KiB"
    assert gateway["port"]["default"] == 8000


def test_unknown_keys_are_errors_in_the_schema_too():
    """Editors that know the schema mark unknown keys."""
    schema = settings_schema()

    assert all(
        section["additionalProperties"] is False for section in (schema, *schema["$defs"].values())
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("gateway", "port"), "a whole number from 0 to 65535"),
        (("health", "checks"), "a list"),
        (
            ("health", "checks", 3, "http", "method"),
            "one of GET, HEAD, POST, PUT, OPTIONS, PATCH, DELETE",
        ),
        (("health", "checks", 3, "http", "headers"), "a mapping of keys to values"),
        (("telemetry", "otlp", "headers", "x"), "text (put it in quotes)"),
        (("pools",), "a section with the keys http"),
    ],
)
def test_finds_what_may_stand_at_a_path(path: tuple[str | int, ...], expected: str):
    """Sections, lists and mappings lead to what is inside."""
    shape = settings_shape().find(path)

    assert shape is not None
    assert shape.expected() == expected


@pytest.mark.parametrize(
    "path", [("x",), ("gateway", "port", "x"), ("health", "checks", "name"), ("gateway", 0)]
)
def test_finds_nothing_where_nothing_may_stand(path: tuple[str | int, ...]):
    """A path that leads nowhere has no shape."""
    assert settings_shape().find(path) is None


def test_paths_are_written_as_people_write_them():
    """Keys are joined by dots, indexes stand in brackets."""
    assert dotted(("health", "checks", 2, "http", "url")) == "health.checks[2].http.url"
    assert dotted(()) == ""
