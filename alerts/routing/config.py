"""Routes and receivers, read from a file in Alertmanager's format.

All of the format is read but what the process says elsewhere: ``tracing`` and ``event_recorder``.
The channels of receivers are read by whoever knows them, a ``ChannelReader``.

Source: Alertmanager documentation, "Configuration"; config/config.go.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from alerts.documents import Document, read_document
from alerts.errors import DocumentError, Problem
from alerts.notify.channel_config import ChannelReader
from alerts.notify.templates import TemplateLibrary
from alerts.routing.format_keys import ALERTMANAGER_GLOBAL_KEYS, ALERTMANAGER_KINDS
from alerts.routing.hide import shown_configuration
from alerts.routing.intervals import TimeInterval, read_time_interval
from alerts.routing.matcher_reader import MATCHER_KEYS, read_matchers
from alerts.routing.matchers import is_label_name
from alerts.routing.model import InhibitRule, Receiver, Route, RoutingConfig
from alerts.routing.reading import PlacedText, open_sections, placed_texts
from alerts.routing.route_reader import DefinedNames, read_root_route
from alerts.sections import Keys, Section, open_section

_log = logging.getLogger(__name__)

DEFAULT_RESOLVE_TIMEOUT_S: Final = 300.0

_WHAT: Final = "an Alertmanager configuration"
_ELSEWHERE: Final[Mapping[str, str]] = {
    "tracing": "gatewatch's own configuration says where traces go, under telemetry; remove it",
    "event_recorder": "gatewatch keeps the history of alerts in its database; remove it",
}
_TOP_KEYS: Final = Keys(
    (
        *("global", "route", "receivers", "inhibit_rules", "templates"),
        *("time_intervals", "mute_time_intervals"),
        *_ELSEWHERE,
    )
)
_INTERVAL_KEYS: Final = Keys(("name", "time_intervals"))
_INHIBIT_KEYS: Final = Keys(
    (
        *("name", "equal"),
        *(f"{side}_{key}" for side in ("source", "target") for key in MATCHER_KEYS),
    ),
    ("sources",),
)


def load_routing(path: Path, *, channels: ChannelReader) -> RoutingConfig:
    """Read a file.

    Args:
        path: Where it is; the templates it names are relative to its folder.
        channels: Reads the channels of receivers.

    Raises:
        DocumentError: Something is wrong or not supported; lists all problems.
    """
    return read_routing(read_document(path), channels=channels, base_dir=path.parent)


def read_routing(document: Document, *, channels: ChannelReader, base_dir: Path) -> RoutingConfig:
    """Read a parsed file.

    Args:
        document: The file.
        channels: Reads the channels of receivers.
        base_dir: What the paths of templates are relative to.

    Raises:
        DocumentError: Something is wrong or not supported; lists all problems.
    """
    try:
        return _read(document, channels, base_dir)
    except RecursionError as error:
        message = "values are nested too deeply"
        raise DocumentError([Problem(document.file, 0, 0, message)]) from error


def _read(document: Document, channels: ChannelReader, base_dir: Path) -> RoutingConfig:
    problems: list[Problem] = []
    top = open_section(document, (), document.data, problems, _WHAT)
    if top is None:
        raise DocumentError(problems)
    top.check_keys(_TOP_KEYS, _WHAT)
    for key, message in _ELSEWHERE.items():
        if key in top.data:
            top.report(key, f"{key}: {message}", of_key=True)
    options = _global(top, channels)
    receivers = _receivers(top, channels, options)
    intervals = _time_intervals(top)
    config = RoutingConfig(
        route=_route(top, DefinedNames(receivers, intervals)),
        receivers=receivers,
        resolve_timeout_s=_resolve_timeout_s(options),
        inhibit_rules=_inhibit_rules(top),
        time_intervals=intervals,
        templates=_templates(top, base_dir),
    )
    if problems:
        # What is wrong with a default is found once for each channel that takes it.
        raise DocumentError(list(dict.fromkeys(problems)))
    return replace(config, original=shown_configuration(document))


def _route(top: Section, names: DefinedNames) -> Route:
    section = top.open_section("route")
    if section is not None:
        return read_root_route(section, names)
    if not top.has("route"):
        top.report(None, "route is missing: say which receiver gets the alerts")
    return Route("")


def _global(top: Section, channels: ChannelReader) -> Section | None:
    known = {"resolve_timeout", *channels.global_keys, *ALERTMANAGER_GLOBAL_KEYS}
    section = top.section("global", Keys(known))
    if section is None:
        return None
    for key in section.data:
        if section.has(key) and section.has(f"{key}_file"):
            section.report(f"{key}_file", f"there is either {key} or {key}_file, not both")
    return section


def _resolve_timeout_s(options: Section | None) -> float:
    if options is None:
        return DEFAULT_RESOLVE_TIMEOUT_S
    return options.positive_duration("resolve_timeout", DEFAULT_RESOLVE_TIMEOUT_S)


def _receivers(
    top: Section, channels: ChannelReader, options: Section | None
) -> dict[str, Receiver]:
    kinds = {f"{kind}_configs": kind for kind in channels.kinds}
    absent = {f"{kind}_configs" for kind in ALERTMANAGER_KINDS} - set(kinds)
    receivers: dict[str, Receiver] = {}
    for section in top.sections(
        "receivers", Keys(("name", "labels", *kinds), absent), "a receiver"
    ):
        name = section.required_text("name")
        if name in receivers:
            section.report("name", f"a receiver named {name!r} is defined already")
        labels = section.text_map("labels")
        configs = tuple(
            channels.read(kinds[key], entry, options)
            for key in section.data
            if key in kinds
            for entry in open_sections(section, key, f"an item of {key}")
        )
        if name:
            receivers[name] = Receiver(name, configs, labels=tuple(sorted(labels.items())))
    return receivers


def _time_intervals(top: Section) -> dict[str, tuple[TimeInterval, ...]]:
    found: dict[str, tuple[TimeInterval, ...]] = {}
    for key in ("mute_time_intervals", "time_intervals"):
        for section in top.sections(key, _INTERVAL_KEYS, "a named time interval"):
            name = section.required_text("name")
            if name in found:
                section.report("name", f"a time interval named {name!r} is defined already")
            intervals = open_sections(section, "time_intervals", "a time interval")
            found[name] = tuple(read_time_interval(interval) for interval in intervals)
    return found


def _inhibit_rules(top: Section) -> tuple[InhibitRule, ...]:
    return tuple(
        InhibitRule(
            source_matchers=read_matchers(section, "source_"),
            target_matchers=read_matchers(section, "target_"),
            equal=tuple(_label_names(section, "equal")),
            name=section.text("name"),
        )
        for section in top.sections("inhibit_rules", _INHIBIT_KEYS, "an inhibition rule")
    )


def _label_names(section: Section, key: str) -> Iterator[str]:
    for placed in placed_texts(section, key):
        if not is_label_name(placed.text):
            placed.report(f"{placed.text!r} cannot be the name of a label")
        yield placed.text


def _templates(top: Section, base_dir: Path) -> TemplateLibrary:
    """Read the files that ``templates`` names, each once, in order."""
    files: dict[Path, None] = {}
    for placed in placed_texts(top, "templates"):
        files.update(dict.fromkeys(_template_files(placed, base_dir)))
    try:
        return TemplateLibrary.load(files)
    except DocumentError as error:
        top.problems.extend(error.problems)
        return TemplateLibrary()


def _template_files(placed: PlacedText, base_dir: Path) -> list[Path]:
    # Path.glob refuses absolute patterns.
    names = glob.glob(str(base_dir / placed.text))  # noqa: PTH207 - see above
    files = [path for path in map(Path, sorted(names)) if path.is_file()]
    if not files and glob.has_magic(placed.text):
        _log.warning("no template file matches %s in %s", placed.text, base_dir)
    elif not files:
        placed.report(f"there is no template file {placed.text}")
    return files
