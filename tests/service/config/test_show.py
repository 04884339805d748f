"""Settings as they are shown: complete, without secrets, and good to be loaded again."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.durations import format_duration
from service.config.shapes import settings_shape
from service.config.show import as_yaml, plain
from service.config.types import format_size
from tests.support.configuration import load_text

SECRETS = """\
gateway:
  api_key: s3cret-1
  token: {hmac_secret: s3cret-2}
operations:
  auth: {username: me, password: s3cret-3, bearer_token: s3cret-4}
telemetry:
  otlp: {headers: {anything: s3cret-5}}
alerts:
  storage_url: postgresql+asyncpg://me:s3cret-6@host/db
health:
  checks:
    - name: web
      http:
        url: "http://me:s3cret-7@host/path?token=s3cret-9&s3cret-10&empty="
        headers: {X-Auth: s3cret-8, Accept: text}
"""


def test_secrets_are_hidden(tmp_path: Path):
    """No secret is shown, wherever it stands; what is none stays readable."""
    loaded = load_text(tmp_path, SECRETS)

    text = as_yaml(loaded)
    assert "s3cret" not in text
    assert "s3cret" not in repr(plain(loaded.settings))
    assert "postgresql+asyncpg://me:***@host/db" in text
    assert "http://me:***@host/path?token=***&***&empty=" in text
    assert "Accept: text" in text


def test_values_are_written_as_people_write_them(tmp_path: Path):
    """Durations and sizes have units, and what was set says where."""
    lines = as_yaml(load_text(tmp_path, "gateway:\n  idle_timeout: 90s\n")).splitlines()

    assert "  idle_timeout: 1m30s  # gatewatch.yaml:2" in lines
    assert "  max_message_size: 64KiB" in lines


def test_a_text_of_several_lines_stays_whole(tmp_path: Path):
    """The note about the origin never becomes part of a text."""
    loaded = load_text(tmp_path, overrides=['service.environment="a\\nb"'])

    assert yaml.safe_load(as_yaml(loaded))["service"]["environment"] == "a\nb"


def test_every_key_is_shown(tmp_path: Path):
    """What is shown has all the keys there are, with lists empty."""
    shown = plain(load_text(tmp_path).settings)

    for path in settings_shape().paths():
        value: Any = shown
        for step in path:
            value = value[step]


DURATIONS = st.integers(min_value=1, max_value=10**9).map(lambda ms: format_duration(ms / 1000))
SIZES = st.integers(min_value=1, max_value=10**12) | st.integers(1, 10**12).map(format_size)
COUNTS = st.integers(min_value=1, max_value=10**9)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
NAMES = st.text("abcdefgh-_", min_size=2, max_size=8)
URLS = st.sampled_from(["http://127.0.0.1:80/", "https://example.com/x"])


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


CHECKS = st.fixed_dictionaries(
    {
        "name": st.text("abcdefgh", min_size=1, max_size=8),
        "http": st.fixed_dictionaries(
            {"url": URLS},
            optional={
                "method": st.sampled_from(["GET", "HEAD", "POST"]),
                "headers": st.dictionaries(st.sampled_from(["Accept", "X-A"]), TEXT),
                "body": TEXT,
                "expected_status": st.lists(st.integers(100, 599), max_size=3),
            },
        ),
    },
    optional={"interval": DURATIONS, "timeout": DURATIONS, "failure_threshold": COUNTS},
)
FILES = some(
    service=some(name=TEXT, instance=TEXT, shutdown_timeout=DURATIONS),
    gateway=some(
        port=st.integers(0, 65535),
        allow_anonymous=st.booleans(),
        max_connections=COUNTS,
        idle_timeout=DURATIONS,
        max_message_size=SIZES,
        allowed_origins=st.lists(TEXT, max_size=2),
        channels=some(allow_publish_for_client=st.booleans()),
        namespaces=st.lists(
            st.fixed_dictionaries({"name": NAMES}), max_size=3, unique_by=lambda one: one["name"]
        ),
    ),
    batching=some(
        max_messages=COUNTS,
        max_bytes=st.integers(1, 1024 * 1024),  # a default queue holds no larger batch
        max_delay=DURATIONS,
        eager=st.booleans(),
    ),
    health=some(
        interval=DURATIONS,
        checks=st.lists(CHECKS, max_size=3, unique_by=lambda one: one["name"]),
    ),
    telemetry=some(sampling=st.floats(0, 1), log_level=st.sampled_from(["debug", "error"])),
    alerts=some(rule_files=st.lists(NAMES, max_size=2), alertmanager_config=NAMES),
)


@given(FILES)
@settings(max_examples=40)
def test_what_is_shown_can_be_loaded(values: dict[str, Any]):
    """Any valid file leads to settings that, shown and loaded again, are the same."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        first = load_text(directory, yaml.safe_dump(values, allow_unicode=True))

        again = load_text(directory, as_yaml(first))

        assert again.settings == first.settings
        assert (
            load_text(directory, yaml.safe_dump(plain(first.settings))).settings == first.settings
        )
