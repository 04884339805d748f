"""Loading settings from texts, as the configuration tests do."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from service.config.sources import LoadedSettings, load_settings
from service.errors import ConfigurationError


def load_text(
    directory: Path,
    text: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> LoadedSettings:
    """Load settings in a directory, whose gatewatch.yaml is the text."""
    if text is not None:
        (directory / "gatewatch.yaml").write_text(text, encoding="utf-8")
    return load_settings(None, environ=environ or {}, overrides=overrides, directory=directory)


def problems_of(
    directory: Path,
    text: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> list[str]:
    """Return what is printed about settings that cannot be loaded."""
    with pytest.raises(ConfigurationError) as caught:
        load_text(directory, text, environ=environ, overrides=overrides)
    return [str(problem) for problem in caught.value.problems]
