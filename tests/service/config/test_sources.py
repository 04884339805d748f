"""Where settings come from, which source wins, and what relative paths are relative to."""

from pathlib import Path

import pytest

from service.config.settings import Settings
from service.config.sources import load_settings
from tests.support.configuration import load_text, problems_of


def test_defaults_run(tmp_path: Path):
    """Without a file, variables or options everything has its default."""
    loaded = load_text(tmp_path)

    assert loaded.file is None
    assert loaded.origins == {}
    assert loaded.settings.gateway == Settings().gateway


def test_later_sources_win_per_key(tmp_path: Path):
    """The environment wins over the file, --set over both; other keys of a section stay."""
    loaded = load_text(
        tmp_path,
        "gateway: {port: 1, host: localhost, max_connections: 5}\n",
        environ={"GATEWATCH_GATEWAY__PORT": "2", "GATEWATCH_GATEWAY__MAX_CONNECTIONS": "6"},
        overrides=["gateway.port=3"],
    )

    gateway = loaded.settings.gateway
    assert (gateway.host, gateway.max_connections, gateway.port) == ("localhost", 6, 3)


def test_origins_say_where_each_value_was_set(tmp_path: Path):
    """Each value that was given leads back to its line, its variable or its option."""
    loaded = load_text(
        tmp_path,
        "gateway:\n  host: localhost\n  port: 1\n",
        environ={"GATEWATCH_SERVICE__NAME": "x"},
        overrides=["gateway.port=3"],
    )

    assert loaded.origins == {
        ("gateway", "host"): "gatewatch.yaml:2",
        ("gateway", "port"): "--set gateway.port",
        ("service", "name"): "GATEWATCH_SERVICE__NAME",
    }


def test_a_list_replaces_a_list(tmp_path: Path):
    """Lists are not merged: the later one counts."""
    loaded = load_text(
        tmp_path,
        "gateway: {allowed_origins: [a, b]}\n",
        environ={"GATEWATCH_GATEWAY__ALLOWED_ORIGINS": '["c"]'},
    )

    assert loaded.settings.gateway.allowed_origins == ("c",)


def test_a_mapping_with_free_keys_is_merged(tmp_path: Path):
    """Headers from several sources come together."""
    loaded = load_text(
        tmp_path,
        "telemetry: {otlp: {headers: {a: x}}}\n",
        overrides=["telemetry.otlp.headers.b=y", "telemetry.otlp.headers={c: z}"],
    )

    headers = loaded.settings.telemetry.otlp.headers
    assert {name: value.get_secret_value() for name, value in headers.items()} == {
        "a": "x",
        "b": "y",
        "c": "z",
    }


def test_a_whole_section_can_come_from_a_variable(tmp_path: Path):
    """A section given as JSON is merged key by key."""
    loaded = load_text(
        tmp_path,
        "batching: {max_messages: 7}\n",
        environ={"GATEWATCH_BATCHING": '{"max_delay": "5ms", "max_bytes": 1024}'},
    )

    batching = loaded.settings.batching
    assert (batching.max_messages, batching.max_delay, batching.max_bytes) == (7, 0.005, 1024)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("12345", "12345"),
        ("true", "true"),
        ("a: b #c", "a: b #c"),
        ("*x", "*x"),
        ('"quoted"', '"quoted"'),
    ],
)
def test_a_secret_is_taken_as_it_is(tmp_path: Path, given: str, key: str):
    """A secret from the environment means exactly its characters, whatever YAML makes of it."""
    loaded = load_text(tmp_path, environ={"GATEWATCH_GATEWAY__API_KEY": given})

    secret = loaded.settings.gateway.api_key
    assert secret is not None
    assert secret.get_secret_value() == key


@pytest.mark.parametrize(("given", "name"), [("007", "007"), ("'a b'", "a b"), ("a #b", "a #b")])
def test_text_needs_no_quotes_outside_a_file(tmp_path: Path, given: str, name: str):
    """Text from an option is text even when it looks like a number; quotes are taken off."""
    loaded = load_text(tmp_path, overrides=[f"service.name={given}"])

    assert loaded.settings.service.name == name


@pytest.mark.parametrize("nothing", ["", "null"])
def test_an_optional_value_can_be_taken_back(tmp_path: Path, nothing: str):
    """An empty variable takes back what the file says, so no key is ever an empty text."""
    loaded = load_text(
        tmp_path,
        "gateway: {api_key: secret}\n",
        environ={"GATEWATCH_GATEWAY__API_KEY": nothing},
    )

    assert loaded.settings.gateway.api_key is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gateway:\n",
        "gateway:\n  # port: 1\n  token:\n",
        "health:\n  checks:\n",
        "alerts: {rule_files: }\n",
    ],
)
def test_sections_with_everything_commented_out_are_defaults(tmp_path: Path, text: str):
    """A section or list in which nothing is left is as if it were not there."""
    assert load_text(tmp_path, text).origins == {}


def test_variables_of_the_test_suite_are_no_settings(tmp_path: Path):
    """The folders of conformance tests share the prefix and are left alone."""
    environ = {"GATEWATCH_PROMQLTEST_DIR": "/x", "GATEWATCH_PROMTOOL_DIR": "/y", "PATH": "/bin"}

    assert load_text(tmp_path, environ=environ).origins == {}


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path):
    """A file elsewhere takes its relative paths, and the data directory, along."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "g.yaml").write_text(
        "alerts:\n"
        "  rule_files: [rules/*.yaml, /abs/r.yaml]\n"
        "  alertmanager_config: am.yaml\n"
        "  storage_url: sqlite+aiosqlite:///state/alerts.db?timeout=5\n",
        encoding="utf-8",
    )

    settings = load_settings(
        Path("etc/g.yaml"), environ={}, overrides=["service.name=x"], directory=tmp_path
    ).settings

    assert settings.service.data_dir == folder / "data"
    assert settings.alerts.rule_files == (f"{folder}/rules/*.yaml", "/abs/r.yaml")
    assert settings.alerts.alertmanager_config == folder / "am.yaml"
    assert settings.alerts.storage_url == f"sqlite+aiosqlite:///{folder}/state/alerts.db?timeout=5"


def test_other_paths_are_relative_to_the_current_directory(tmp_path: Path):
    """A path from an option or a variable means what it means to the shell."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "g.yaml").write_text("service: {data_dir: here}\n", encoding="utf-8")

    settings = load_settings(
        Path("etc/g.yaml"),
        environ={"GATEWATCH_ALERTS__ALERTMANAGER_CONFIG": "am.yaml"},
        overrides=["service.data_dir=there"],
        directory=tmp_path,
    ).settings

    assert settings.service.data_dir == tmp_path / "there"
    assert settings.alerts.alertmanager_config == tmp_path / "am.yaml"


def test_without_a_file_the_data_directory_is_here(tmp_path: Path):
    """Defaults put their state under the current directory."""
    assert load_text(tmp_path).settings.service.data_dir == tmp_path / "data"


@pytest.mark.parametrize(
    "url",
    ["", "sqlite:////abs/a.db", "sqlite+aiosqlite:///:memory:", "postgresql+asyncpg://h/db"],
)
def test_storage_urls_without_a_relative_path_stay(tmp_path: Path, url: str):
    """Only a relative SQLite path is resolved."""
    settings = load_text(tmp_path, overrides=[f"alerts.storage_url={url}"]).settings

    assert settings.alerts.storage_url == url


def test_a_named_file_must_be_there(tmp_path: Path):
    """A file that was asked for and cannot be read is a problem."""
    (tmp_path / "gatewatch.yaml").mkdir()

    assert load_text(tmp_path).file is None
    assert problems_of(tmp_path, overrides=["x=1"])


def test_problems_of_all_sources_come_together(tmp_path: Path):
    """One look says everything that is wrong in file, environment and options."""
    problems = problems_of(
        tmp_path,
        "gateway: {port: x}\n",
        environ={"GATEWATCH_BATCHING__MAX_DELAY": "10"},
        overrides=["service.nam=x", "health.interval"],
    )

    assert problems == [
        "--set health.interval: write it as KEY=VALUE, such as gateway.port=9000",
        "--set service.nam: names no setting; did you mean service.name?",
        "GATEWATCH_BATCHING__MAX_DELAY: batching.max_delay: "
        "10 has no unit; write 10s for 10 seconds",
        "gatewatch.yaml:1:17: gateway.port: got 'x', expected a whole number from 0 to 65535",
    ]
