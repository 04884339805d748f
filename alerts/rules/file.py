"""Rule files in Prometheus's format: reading, checking and preparing them.

Every problem of every file is found in one go and carries file, line and column. Names of metrics
and labels may be any UTF-8 text, as in Prometheus 3.

Source: Prometheus documentation, "Recording rules" and "Alerting rules"; model/rulefmt.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from alerts.documents import Document, Position, ValuePath, read_document
from alerts.errors import AlertsError, DocumentError, Problem
from alerts.promql.errors import PromQLError
from alerts.rules.model import (
    AlertingDefinition,
    GroupDefinition,
    RecordingDefinition,
    RuleEngine,
)
from alerts.rules.templates import Template, TemplateError
from alerts.sections import Keys, Section, open_section
from alerts.series.labels import METRIC_NAME, Labels

_log = logging.getLogger(__name__)

DEFAULT_RULES: Final = Path(__file__).parent / "packs" / "gatewatch.yaml"
"""The rules shipped over gatewatch's own metrics."""

CHECK_RULES: Final = DEFAULT_RULES.with_name("checks.yaml")
"""The rules shipped over its health checks."""

_FILE_KEYS: Final = Keys(("groups",))
_GROUP_KEYS: Final = Keys(("name", "interval", "query_offset", "limit", "labels", "rules"))
_RULE_KEYS: Final = Keys(
    ("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")
)


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """What reading rule files came to.

    Attributes:
        groups: The groups of the files that are good.
        problems: What is wrong; a file with a problem is not usable.
        warnings: What is legal and probably not meant: a second document, which is ignored.
        duplicates: Rules that have name and labels of a rule before them in the same file.
    """

    groups: tuple[GroupDefinition, ...]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    duplicates: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What paths and globs of rule files came to.

    Attributes:
        paths: The files, each once, in order.
        missing: The index and full path of each path without wildcards that names no file.
    """

    paths: tuple[Path, ...]
    missing: tuple[tuple[int, Path], ...] = ()


def find_rule_files(patterns: Iterable[str], *, base_dir: Path) -> FoundFiles:
    """Look for the files that paths and globs name.

    A glob that matches nothing is only logged: a directory of rules may be empty for a while.
    """
    found: dict[Path, None] = {}
    missing: list[tuple[int, Path]] = []
    for index, pattern in enumerate(patterns):
        # Path.glob refuses absolute patterns, which is what settings are resolved to.
        names = glob.glob(str(base_dir / pattern), recursive=True)  # noqa: PTH207 - see above
        files = [path for path in map(Path, sorted(names)) if path.is_file()]
        if not files and glob.has_magic(pattern):
            _log.warning("no rule file matches %s in %s", pattern, base_dir)
        elif not files:
            missing.append((index, base_dir / pattern))
        found.update(dict.fromkeys(files))
    return FoundFiles(tuple(found), tuple(missing))


def load_rules(
    files: Iterable[Path],
    *,
    engine: RuleEngine,
    default_interval_s: float,
    ignores_unknown_keys: bool = False,
) -> tuple[GroupDefinition, ...]:
    """Read rule files.

    Args:
        files: The files, as ``find_rule_files`` finds them.
        engine: Prepares the expressions.
        default_interval_s: Seconds between evaluations of groups that do not say.
        ignores_unknown_keys: Let keys pass that the format has not, such as notes of other tools.

    Raises:
        DocumentError: Something is wrong; lists the problems of all files.
    """
    found = check_rules(
        files,
        engine=engine,
        default_interval_s=default_interval_s,
        ignores_unknown_keys=ignores_unknown_keys,
    )
    for warning in found.warnings:
        _log.warning("%s", warning)
    if found.problems:
        raise DocumentError(list(found.problems))
    return found.groups


def check_rules(
    files: Iterable[Path],
    *,
    engine: RuleEngine,
    default_interval_s: float,
    ignores_unknown_keys: bool = False,
) -> RuleFiles:
    """Read rule files and tell everything there is to say about them; arguments as above."""
    groups: list[GroupDefinition] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    duplicates: list[Problem] = []
    for file in files:
        try:
            document = read_document(file)
        except DocumentError as error:
            problems += error.problems
            continue
        reader = _Reader(document, engine, default_interval_s, ignores_unknown_keys)
        groups += reader.groups() if document.data is not None else ()
        problems += reader.problems
        warnings += _second_document(document)
        duplicates += reader.duplicates
    return RuleFiles(
        tuple(groups), tuple(sorted(set(problems))), tuple(warnings), tuple(duplicates)
    )


def _second_document(document: Document) -> list[Problem]:
    """Return a warning where a second YAML document starts."""
    place = document.second()
    if place is None:
        return []
    message = "a second YAML document starts here; it is ignored"
    return [Problem(document.file, place.line, place.column, message)]


def read_groups(
    document: Document, *, engine: RuleEngine, default_interval_s: float
) -> tuple[GroupDefinition, ...]:
    """Read one parsed rule file; arguments and errors as ``load_rules``."""
    if document.data is None:
        return ()
    reader = _Reader(document, engine, default_interval_s)
    groups = reader.groups()
    if reader.problems:
        raise DocumentError(reader.problems)
    return groups


@dataclass(frozen=True, slots=True)
class _Reader:
    document: Document
    engine: RuleEngine
    default_interval_s: float
    ignores_unknown_keys: bool = False
    problems: list[Problem] = field(default_factory=list)
    duplicates: list[Problem] = field(default_factory=list)
    _places: dict[tuple[str, Labels], Position] = field(default_factory=dict)

    def groups(self) -> tuple[GroupDefinition, ...]:
        top = open_section(self.document, (), self.document.data, self.problems, "a rule file")
        if top is None:
            return ()
        top.check_keys(self.keys(_FILE_KEYS), "a rule file")
        groups: list[GroupDefinition] = []
        seen: set[str] = set()
        for section in top.sections("groups", self.keys(_GROUP_KEYS), "a group"):
            group = self.group(section)
            if group.name and group.name in seen:
                section.report("name", f"a group named {group.name!r} is in this file already")
            seen.add(group.name)
            groups.append(group)
        return tuple(groups)

    def keys(self, keys: Keys) -> Keys:
        return replace(keys, ignores_others=self.ignores_unknown_keys)

    def group(self, section: Section) -> GroupDefinition:
        labels = self.labels(section)
        found = section.sections("rules", self.keys(_RULE_KEYS), "a rule")
        members = [rule for rule in found if self.is_rule(rule)]
        has_alerts = any(rule.data.get("alert") for rule in members)
        # Only the labels of alerts are templates.
        templates = self.templates(section, "labels", labels) if has_alerts else {}
        rules = [
            self.recording(rule, labels)
            if rule.data.get("record")
            else self.alerting(rule, templates)
            for rule in members
        ]
        for member in members:
            self.note_duplicate(member, labels)
        return GroupDefinition(
            file=self.document.file,
            name=section.required_text("name"),
            interval_s=section.duration("interval", 0.0) or self.default_interval_s,
            rules=tuple(rules),
            limit=section.count("limit"),
            query_offset_s=section.duration("query_offset", 0.0),
        )

    def note_duplicate(self, section: Section, group_labels: dict[str, str]) -> None:
        """Remember a rule, or report that one with its name and labels is there already."""
        name = section.text("alert") or section.text("record")
        own = section.data.get("labels")
        labels = {**group_labels, **(section.text_map("labels") if isinstance(own, dict) else {})}
        identity = (name, Labels(labels))
        place = self.document.position(section.path)
        first = self._places.setdefault(identity, place)
        if first != place:
            message = (
                f"the rule in line {first.line} has the name {name!r} and the same labels; "
                "what they write may be inconsistent"
            )
            self.duplicates.append(self.document.problem(section.path, message))

    def is_rule(self, section: Section) -> bool:
        has_record, has_alert = (
            # An empty name is none; what is no name at all is reported later.
            section.has(key) and section.data[key] != ""
            for key in ("record", "alert")
        )
        if has_record == has_alert:
            given = "both" if has_record else "neither"
            section.report(None, f"a rule has either record or alert; this one has {given}")
        return has_record != has_alert

    def recording(self, section: Section, group_labels: dict[str, str]) -> RecordingDefinition:
        record = section.required_text("record")
        if "{" in record or "}" in record:
            section.report("record", f"{record!r} has braces: does it belong into expr?")
        elif not _is_name(record) and record:
            section.report("record", f"{record!r} is no metric name: it is not UTF-8 text")
        alert_only = (
            ("for", section.duration("for", 0.0) != 0),
            ("keep_firing_for", section.duration("keep_firing_for", 0.0) != 0),
            ("annotations", bool(section.data.get("annotations"))),
        )
        for key, is_given in alert_only:
            if is_given:
                message = f"{key} belongs to alerting rules; {record!r} is a recording rule"
                section.report(key, message, of_key=True)
        expression, query = self.expression(section)
        return RecordingDefinition(
            record=record,
            expression=expression,
            query=query,
            labels=tuple({**group_labels, **self.labels(section)}.items()),
        )

    def alerting(self, section: Section, group_labels: dict[str, Template]) -> AlertingDefinition:
        labels = self.templates(section, "labels", self.labels(section))
        annotations = section.text_map("annotations")
        self.check_names(section, "annotations", annotations)
        expression, query = self.expression(section)
        return AlertingDefinition(
            alert=section.required_text("alert"),
            expression=expression,
            query=query,
            for_s=section.duration("for", 0.0),
            keep_firing_for_s=section.duration("keep_firing_for", 0.0),
            labels=tuple({**group_labels, **labels}.items()),
            annotations=tuple(self.templates(section, "annotations", annotations).items()),
        )

    def expression(self, section: Section) -> tuple[str, Any]:
        """Return the expression and what the engine prepared from it."""
        expression = section.required_text("expr")
        if not expression:
            return "", None
        try:
            return expression, self.engine.prepare(expression)
        except PromQLError as error:
            self.report_expression(section, expression, error)
        except AlertsError as error:
            section.report("expr", f"expr: {error}")
        return expression, None

    def report_expression(self, section: Section, expression: str, error: PromQLError) -> None:
        """Report an error where in the expression it is, if that can be told."""
        path = (*section.path, "expr")
        place = None
        if error.offset is not None:
            place = self.document.position_after(path, expression[: error.offset])
        if place is None:
            section.report("expr", f"expr: {error}")
            return
        message = f"expr: {error.message}"
        self.problems.append(Problem(self.document.file, place.line, place.column, message))

    def labels(self, section: Section) -> dict[str, str]:
        labels = section.text_map("labels")
        self.check_names(section, "labels", labels)
        if METRIC_NAME in labels:
            message = f"the label {METRIC_NAME} is the name of the metric and cannot be set"
            self.report_entry(section, "labels", METRIC_NAME, message)
        for name, value in labels.items():
            if value and not _is_name(value):
                message = f"the value of the label {name!r} is not UTF-8 text"
                self.problems.append(
                    self.document.problem((*section.path, "labels", name), message)
                )
        return labels

    def check_names(self, section: Section, key: str, entries: dict[str, str]) -> None:
        for name in entries:
            if not _is_name(name):
                message = (
                    f"{name!r} is no name for one of the {key}: it is not UTF-8 text"
                    if name
                    else f"one of the {key} has an empty name"
                )
                self.report_entry(section, key, name, message)

    def templates(self, section: Section, key: str, entries: dict[str, str]) -> dict[str, Template]:
        templates: dict[str, Template] = {}
        for name, text in entries.items():
            try:
                templates[name] = Template.parse(text)
            except TemplateError as error:
                self.report_template(section, (*section.path, key, name), text, error)
        return templates

    def report_template(
        self, section: Section, path: ValuePath, text: str, error: TemplateError
    ) -> None:
        """Report an error where in the template it is, if that can be told."""
        place = self.document.position_after(path, text[: error.offset])
        if place is None:
            message = f"{path[-1]}: {error} (character {error.offset + 1} of the text)"
            self.problems.append(self.document.problem(path, message))
            return
        message = f"{path[-1]}: {error}"
        self.problems.append(Problem(section.document.file, place.line, place.column, message))

    def report_entry(self, section: Section, key: str, name: str, message: str) -> None:
        path = (*section.path, key, name)
        self.problems.append(self.document.problem(path, message, of_key=True))


def _is_name(text: str) -> bool:
    """Whether a text can be a name, of a metric or a label: not empty, and UTF-8 can hold it."""
    return bool(text) and not any("\ud800" <= letter <= "\udfff" for letter in text)
