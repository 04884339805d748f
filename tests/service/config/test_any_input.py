"""Whatever is given, the answer is settings or a list of problems with places."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config.shapes import settings_shape
from service.config.sources import load_settings, variable
from service.errors import ConfigurationError

PATHS = sorted(settings_shape().paths())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.sampled_from(["5s", "0s", "64KiB", "0.0.0.0", "***", "http://x:y@z/", "dev-key"])
)
KEYS = st.sampled_from(["name", "http", "url", "headers", "port"]) | st.integers() | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def nested(pairs: list[tuple[tuple[str, ...], object]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for path, value in pairs:
        inside: Any = data
        for step in path[:-1]:
            inside = inside.setdefault(step, {}) if isinstance(inside, dict) else {}
        if isinstance(inside, dict):
            inside[path[-1]] = value
    return data


@given(
    file=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), max_size=6).map(nested),
    environ=st.dictionaries(
        st.sampled_from(PATHS).map(lambda path: f"GATEWATCH_{variable(path)}"),
        st.text(max_size=8) | VALUES.map(repr),
        max_size=3,
    ),
    overrides=st.lists(st.text(max_size=8) | st.sampled_from(["gateway.port=1"]), max_size=2),
)
@settings(max_examples=60)
def test_any_input_is_settings_or_problems(
    file: dict[str, Any], environ: dict[str, str], overrides: list[str]
):
    """No value of any kind, at any place, from any source, leads to another error."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        text = yaml.safe_dump(file, allow_unicode=True)
        (directory / "gatewatch.yaml").write_text(text, encoding="utf-8")
        try:
            loaded = load_settings(None, environ=environ, overrides=overrides, directory=directory)
        except ConfigurationError as error:
            assert all(": " in str(problem) for problem in error.problems)
        else:
            assert loaded.settings.service.data_dir.is_absolute()
