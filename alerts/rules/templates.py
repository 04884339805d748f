"""The texts of labels and annotations: Go templates with the data and functions of Prometheus.

A template is parsed when its file is loaded; what goes wrong when it is expanded becomes its text,
so that the alert is not lost.

Source: Prometheus, template/template.go and rules/alerting.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from alerts.errors import AlertsError
from alerts.rules.template_functions import (
    CONTEXT_FUNCTIONS,
    FUNCTIONS,
    MOMENT_FUNCTIONS,
    QueryFunction,
    bound_functions,
)
from alerts.series.labels import Labels
from alerts.templates import nodes
from alerts.templates.errors import TemplateError
from alerts.templates.executor import execute
from alerts.templates.gofmt import format_float
from alerts.templates.parser import parse_template
from alerts.templates.values import Function, Value, to_bytes

__all__ = ["Template", "TemplateData", "TemplateError", "Texts"]

_VARIABLES: Final = {
    "$labels": "Labels",
    "$externalLabels": "ExternalLabels",
    "$externalURL": "ExternalURL",
    "$value": "Value",
}
_PREFIX_LENGTH: Final = len(
    "".join(f"{{{{{name} := .{attribute}}}}}" for name, attribute in _VARIABLES.items())
)
"""Prometheus writes the variables before the text; its columns count what it wrote."""

_FUNCTION_NAMES: Final = frozenset([*FUNCTIONS, *CONTEXT_FUNCTIONS])


@dataclass(frozen=True, slots=True)
class TemplateData:
    """What a template can refer to.

    Attributes:
        labels: Of the sample, the metric name included.
        value: Of the sample.
        external_labels: What is added to everything that leaves this process.
        external_url: Where people reach this process.
        timestamp_ms: When the rule is evaluated, in Unix milliseconds.
        alert: Name of the alert; errors mention it.
        query: Answers ``query`` at that time; None: a template that asks fails.
    """

    go_type: ClassVar[str] = (
        "struct { Labels map[string]string; ExternalLabels map[string]string; "
        "ExternalURL string; Value interface {} }"
    )
    labels: Labels
    value: float
    external_labels: Labels = field(default_factory=Labels)
    external_url: str = ""
    timestamp_ms: int = 0
    alert: str = ""
    query: QueryFunction | None = None

    def fields(self) -> Mapping[str, Value]:
        """Return what stands behind the dot."""
        return {
            "Labels": self.labels,
            "ExternalLabels": self.external_labels,
            "ExternalURL": self.external_url,
            "Value": self.value,
        }

    def methods(self) -> Mapping[str, Function]:
        """Return no methods."""
        return {}

    def text(self) -> None:
        """Say that it is written as a struct."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; ``parse`` once, ``expand`` for every alert.

    Attributes:
        source: The text as it was written.
        tree: What it does; None for a text without actions.
        pieces: Texts and names of labels in turn, for a template that does no more than that; the
            empty name is the value.
    """

    source: str
    tree: nodes.Tree | None = None
    pieces: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, source: str) -> Template:
        """Parse a template.

        Raises:
            TemplateError: It is no Go template, or names a function or variable there is not.
        """
        if "{{" not in source:
            return cls(source)
        tree = parse_template(source, functions=_FUNCTION_NAMES, variables=_VARIABLES)
        return cls(source, tree, _pieces(tree))

    @property
    def needs_value(self) -> bool:
        """Whether the text may differ for alerts whose labels are the same."""
        return self.tree is not None and (self.pieces is None or "" in self.pieces[1::2])

    @property
    def needs_moment(self) -> bool:
        """Whether the text depends on when it is expanded, not only on labels and value."""
        return self.tree is not None and not self.tree.functions.isdisjoint(MOMENT_FUNCTIONS)

    def expand(self, data: TemplateData) -> str:
        """Return the text for an alert; what goes wrong is said in the text, as Prometheus does."""
        if self.tree is None:
            return self.source
        if self.pieces is not None:
            return self._joined(self.pieces, data)
        try:
            return _whole(self._execute(self.tree, data))
        except AlertsError as error:
            name = f"__alert_{data.alert}"
            return _whole(f"<error expanding template: error executing template {name}: {error}>")

    def _joined(self, pieces: tuple[str, ...], data: TemplateData) -> str:
        texts = list(pieces)
        for place in range(1, len(texts), 2):
            name = texts[place]
            texts[place] = data.labels.get(name, "") if name else format_float(data.value)
        return "".join(texts)

    def _execute(self, tree: nodes.Tree, data: TemplateData) -> str:
        fields = data.fields()
        functions: Mapping[str, Function] = FUNCTIONS
        if not tree.functions.isdisjoint(CONTEXT_FUNCTIONS):
            bound = bound_functions(data.query, data.timestamp_ms, data.external_url)
            functions = {**FUNCTIONS, **bound}
        return execute(
            tree,
            data,
            functions=functions,
            variables={name: fields[attribute] for name, attribute in _VARIABLES.items()},
            name=f"__alert_{data.alert}",
            column_offset=_PREFIX_LENGTH,
        )


class Texts:
    """The labels or annotations of an alert, not expanded before somebody reads them.

    Args:
        templates: By name.
        labels: Of the sample, the metric name included.
        alert: Name of the alert.
        external_labels: What is added to everything that leaves this process.
        external_url: Where people reach this process.
    """

    __slots__ = (
        "_alert",
        "_expanded",
        "_external_labels",
        "_external_url",
        "_labels",
        "_templates",
    )

    def __init__(
        self,
        templates: tuple[tuple[str, Template], ...],
        labels: Labels,
        alert: str,
        external_labels: Labels,
        external_url: str,
    ) -> None:
        self._templates = templates
        self._labels = labels
        self._alert = alert
        self._external_labels = external_labels
        self._external_url = external_url
        self._expanded: tuple[str, Labels] | None = None

    def of(self, value: float) -> Labels:
        """Return the texts of a value, of templates that do not ask for the moment."""
        expanded, key = self._expanded, repr(value)
        if expanded is None or expanded[0] != key:
            # Replaced whole, as several threads may read: at worst it is worked out twice.
            self._expanded = expanded = (key, self.at(value, 0, None))
        return expanded[1]

    def at(self, value: float, timestamp_ms: int, query: QueryFunction | None) -> Labels:
        """Return the texts of a value at a moment; ``query`` is answered then."""
        return Labels(self.pairs(value, timestamp_ms, query))

    def pairs(
        self, value: float, timestamp_ms: int, query: QueryFunction | None
    ) -> list[tuple[str, str]]:
        """Return the same with the names of texts that are empty."""
        data = TemplateData(
            self._labels,
            value,
            self._external_labels,
            self._external_url,
            timestamp_ms=timestamp_ms,
            alert=self._alert,
            query=query,
        )
        return [(name, text.expand(data)) for name, text in self._templates]


def _whole(text: str) -> str:
    """Return a text with characters that were cut apart replaced."""
    return text if text.isascii() else to_bytes(text).decode(errors="replace")


def _pieces(tree: nodes.Tree) -> tuple[str, ...] | None:
    """Return text, label, text, ... of a template that only mentions labels."""
    pieces = [""]
    for node in tree.body:
        if isinstance(node, nodes.Text):
            pieces[-1] += node.text
            continue
        label = _label_of(node)
        if label is None:
            return None
        pieces += [label, ""]
    return tuple(pieces)


def _label_of(node: nodes.Node) -> str | None:
    """Return the label whose value is all that an action writes; empty for the value itself."""
    if not isinstance(node, nodes.Action) or node.pipeline.variables:
        return None
    if len(node.pipeline.commands) != 1 or len(node.pipeline.commands[0].arguments) != 1:
        return None
    match node.pipeline.commands[0].arguments[0]:
        case nodes.Variable(name="$value", names=()) | nodes.Field(names=("Value",)):
            return ""
        case nodes.Variable(name="$labels", names=(label,)):
            return label
        case nodes.Field(names=("Labels", label)):
            return label
        case _:
            return None
