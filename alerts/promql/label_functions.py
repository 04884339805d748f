"""``label_replace`` and ``label_join``: labels made from labels, once per frame.

Source: promql/functions.go, evalLabelReplace and evalLabelJoin.
"""

from __future__ import annotations

import re

from alerts.promql.errors import PromQLError
from alerts.promql.text import is_label_name, readable
from alerts.promql.vectors import Frame
from alerts.series.labels import METRIC_NAME, Labels
from alerts.series.matchers import regex_groups

_REFERENCE = re.compile(r"\$(?:\$|\{(?P<braced>[^{}]*)\}|(?P<plain>\w+))")


def replace(frame: Frame, destination: str, replacement: str, source: str, pattern: str) -> Frame:
    """Set a label from the match of a regular expression on another; no match, no change.

    Raises:
        PromQLError: The pattern is no RE2 pattern, or the destination no label name.
    """
    try:
        groups = regex_groups(pattern)
    except ValueError as error:
        raise PromQLError(f"invalid regular expression in label_replace(): {error}") from None
    _check_label(destination, "destination", "label_replace()")
    replacement = readable(replacement)

    def value(labels: Labels) -> str | None:
        found = groups(labels.get(source, ""))
        return None if found is None else _expand(replacement, found)

    return _relabelled(frame, destination, [value(labels) for labels in frame.labels])


def join(frame: Frame, destination: str, separator: str, sources: tuple[str, ...]) -> Frame:
    """Set a label to the values of others, joined.

    Raises:
        PromQLError: The destination or a source is no label name.
    """
    for name in sources:
        _check_label(name, "source", "label_join()")
    _check_label(destination, "destination", "label_join()")
    separator = readable(separator)
    values: list[str | None] = [
        separator.join(labels.get(source, "") for source in sources) for labels in frame.labels
    ]
    return _relabelled(frame, destination, values)


def _relabelled(frame: Frame, name: str, values: list[str | None]) -> Frame:
    labels = [
        labels if value is None else labels.merge({name: value})
        for labels, value in zip(frame.labels, values, strict=True)
    ]
    nameless = frame.nameless
    if nameless is not None and name == METRIC_NAME:
        # A name that was set on purpose stays.
        nameless = tuple(
            gone and value is None for gone, value in zip(nameless, values, strict=True)
        )
    return Frame(labels, nameless)


def _expand(template: str, found: dict[str, str]) -> str:
    """Expand ``$1``, ``${name}`` and ``$$`` as Go's Regexp.Expand does; unknown ones vanish."""

    def text(reference: re.Match[str]) -> str:
        name = reference["braced"] if reference["braced"] is not None else reference["plain"]
        return "$" if name is None else found.get(name, "")

    return _REFERENCE.sub(text, template)


def _check_label(name: str, role: str, function: str) -> None:
    if not is_label_name(name):
        raise PromQLError(f"invalid {role} label name in {function}: {name}")
