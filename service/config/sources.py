"""Reading the configuration: the file, then the environment, then ``--set``; later wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from alerts.documents import ValuePath, parse_document, read_document
from alerts.errors import DocumentError, Problem
from service.config.layers import Layers, Source
from service.config.paths import with_absolute_paths
from service.config.problems import describe, validate
from service.config.settings import Settings
from service.config.shapes import Shape, dotted, nearest, settings_shape, undotted
from service.errors import ConfigurationError

DEFAULT_FILE = "gatewatch.yaml"
"""Read from the current directory when no file is named, if it is there."""

PREFIX = "GATEWATCH_"
"""What the environment variables of settings begin with."""

NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})
"""No options but ``--set``."""

_ALL_KEYS = "`gatewatch config schema` shows every key"

NOT_SETTINGS = frozenset({"GATEWATCH_PROMQLTEST_DIR", "GATEWATCH_PROMTOOL_DIR"})
"""Variables with the prefix that belong to the test suite."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and where they came from.

    Attributes:
        settings: Valid, with absolute paths.
        file: The file that was read, as it was given; None when there was none.
        origins: Where each value that was given stands, by its path: ``gatewatch.yaml:4``,
            ``GATEWATCH_GATEWAY__PORT`` or ``--set gateway.port``.
        layers: The values as they were given, which know their places.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[ValuePath, str]
    layers: Layers = field(compare=False, repr=False)

    def located(self, problem: Problem) -> Problem:
        """Return a problem that names a setting at the place where the setting was given.

        Whoever uses the settings knows their names and not where they come from; any other
        problem is returned as it is.
        """
        path = undotted(problem.file)
        if problem.line or not path or not self.layers.is_given(path):
            return problem
        return self.layers.source(path).problem(path, f"{problem.file}: {problem.message}")


def load_settings(
    file: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Sequence[str] = (),
    options: Mapping[str, str] = NO_OPTIONS,
    directory: Path | None = None,
) -> LoadedSettings:
    """Read and validate the configuration.

    Args:
        file: The file to read; None reads ``gatewatch.yaml`` in ``directory`` if it is there.
        environ: The environment; ``GATEWATCH_GATEWAY__PORT`` is the key ``gateway.port``.
        overrides: Texts such as ``gateway.port=9000``.
        options: Options that are short for an override, such as ``--port``, with that override.
        directory: The current directory, unless told otherwise.

    Raises:
        ConfigurationError: Lists every problem of every source.
    """
    here = (directory or Path.cwd()).absolute()
    if file is None and (here / DEFAULT_FILE).is_file():
        file = Path(DEFAULT_FILE)
    root = settings_shape()
    base = (here / file).parent if file is not None else here
    layers = Layers(Source(str(file or DEFAULT_FILE), base))
    problems: list[Problem] = []
    if file is not None:
        problems += _put_file(layers, root, here, file)
    problems += _put_environment(layers, root, environ, here)
    given = [(f"--set {text.partition('=')[0]}", text) for text in overrides]
    problems += _put_overrides(layers, root, [*given, *options.items()], here)
    try:
        settings = validate(layers, root)
    except ConfigurationError as error:
        raise ConfigurationError([*problems, *error.problems]) from error
    if problems:
        raise ConfigurationError(problems)
    origins = {path: source.place(path) for path, source in layers.given()}
    return LoadedSettings(with_absolute_paths(settings, layers), file, origins, layers)


def _put_file(layers: Layers, root: Shape, here: Path, file: Path) -> list[Problem]:
    try:
        document = read_document(here / file, name=str(file))
    except DocumentError as error:
        return list(error.problems)
    problems: list[Problem] = []
    second = document.second()
    if second is not None:
        message = "a second YAML document starts here; put all settings into one"
        problems.append(Problem(str(file), second.line, second.column, message))
    if document.data is None:
        return problems
    source = Source(str(file), (here / file).parent, document)
    if not isinstance(document.data, dict):
        given = describe(document.data)
        return [*problems, source.problem((), f"got {given}, expected {root.expected()}")]
    cleaner = _Cleaner(source, problems)
    for key, value in cleaner.mapping(document.data, root, ()).items():
        layers.put((key,), value, source)
    return cleaner.problems


@dataclass(frozen=True, slots=True)
class _Cleaner:
    """Takes out keys that are no text, and sections and lists with everything commented out."""

    source: Source
    problems: list[Problem]

    def value(self, value: object, shape: Shape | None, path: ValuePath) -> object:
        """Return a value, cleaned."""
        if isinstance(value, dict):
            return self.mapping(value, shape, path)
        if isinstance(value, list):
            items = enumerate(value)
            return [
                self.value(item, _inside(shape, index), (*path, index)) for index, item in items
            ]
        return value

    def mapping(
        self, data: Mapping[object, object], shape: Shape | None, path: ValuePath
    ) -> dict[str, object]:
        """Return a mapping, cleaned."""
        kept: dict[str, object] = {}
        for key, value in data.items():
            inner = _inside(shape, key) if isinstance(key, str) else None
            if not isinstance(key, str):
                where = f"{dotted(path)}: " if path else ""
                message = f"{where}the key {describe(key)} is not text; put it in quotes"
                self.problems.append(self.source.problem((*path, str(key)), message, of_key=True))
            elif value is not None or inner is None or not inner.is_container:
                kept[key] = self.value(value, inner, (*path, key))
        return kept


def _inside(shape: Shape | None, step: str | int) -> Shape | None:
    return shape.child(step) if shape is not None else None


def _put_environment(
    layers: Layers, root: Shape, environ: Mapping[str, str], here: Path
) -> list[Problem]:
    problems: list[Problem] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        source = Source(name, here)
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        shape = root.find(path)
        if shape is None:
            near = nearest(name.removeprefix(PREFIX), [variable(one) for one in root.paths()])
            hint = f"did you mean {PREFIX}{near}?" if near else _ALL_KEYS
            problems.append(source.problem(path, f"names no setting; {hint}"))
        else:
            problems += _put_text(layers, path, environ[name], shape, source)
    return problems


def _put_overrides(
    layers: Layers, root: Shape, overrides: Sequence[tuple[str, str]], here: Path
) -> list[Problem]:
    problems: list[Problem] = []
    for option, override in overrides:
        key, equals, text = override.partition("=")
        source = Source(option, here, key=key.strip())
        path = tuple(key.strip().split("."))
        shape = root.find(path)
        if not equals:
            problems.append(
                source.problem(path, "write it as KEY=VALUE, such as gateway.port=9000")
            )
        elif shape is None:
            near = nearest(key, [dotted(one) for one in root.paths()])
            hint = f"did you mean {near}?" if near else _ALL_KEYS
            problems.append(source.problem(path, f"names no setting; {hint}"))
        else:
            problems += _put_text(layers, path, text, shape, source)
    return problems


def variable(path: tuple[str, ...]) -> str:
    """Return the environment variable of a key, without the prefix."""
    return "__".join(path).upper()


def _put_text(
    layers: Layers, path: tuple[str, ...], text: str, shape: Shape, source: Source
) -> list[Problem]:
    """Lay a value from the environment or an option over the others.

    Text and secrets are taken as they are, unless text is in quotes; everything else is YAML.
    """
    key = dotted(path)
    if shape.is_nullable and text in ("", "null"):
        layers.put(path, None, source)
        return []
    if shape.is_text and (shape.is_secret or not text.startswith(("'", '"'))):
        layers.put(path, text, source)
        return []
    try:
        data = parse_document(text, source.name).data
    except DocumentError as error:
        return [source.problem(path, f"{key}: {error.problems[0].message}")]
    cleaner = _Cleaner(source, [])
    layers.put(path, cleaner.value(data, shape, path), source)
    return cleaner.problems
