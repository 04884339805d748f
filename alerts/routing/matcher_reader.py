"""Matchers of routes and inhibition rules, read from a file in all three forms it may have.

``matchers`` is a list of texts; ``match`` and ``match_re`` are deprecated mappings of labels to
values and regular expressions. In inhibition rules their names begin with ``source_`` and
``target_``. All that stand in one place must be satisfied.

Source: Alertmanager, config/config.go (Matchers, MatchRegexps) and dispatch/route.go (NewRoute).
"""

from __future__ import annotations

import re
from typing import Final

from alerts.routing.matchers import MatcherError, parse_matchers, sort_matchers
from alerts.routing.reading import placed_texts
from alerts.sections import Section
from alerts.series.matchers import Matcher, MatchOp

MATCHER_KEYS: Final = ("matchers", "match", "match_re")
"""The three forms, without a prefix."""

_CLASSIC_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def read_matchers(section: Section, prefix: str = "") -> tuple[Matcher, ...]:
    """Return all matchers of a section, sorted; what is wrong is reported to the section.

    Args:
        section: A route or an inhibition rule.
        prefix: What the keys begin with, such as ``source_``.
    """
    found = [
        *_mapping(section, f"{prefix}match", MatchOp.EQUAL),
        *_mapping(section, f"{prefix}match_re", MatchOp.REGEX),
        *_texts(section, f"{prefix}matchers"),
    ]
    return sort_matchers(found)


def _texts(section: Section, key: str) -> list[Matcher]:
    found: list[Matcher] = []
    for placed in placed_texts(section, key):
        try:
            found += parse_matchers(placed.text)
        except MatcherError as error:
            placed.report_inside(error.message, error.offset)
    return found


def _mapping(section: Section, key: str, op: MatchOp) -> list[Matcher]:
    inner = section.open_section(key)
    if inner is None:
        return []
    found: list[Matcher] = []
    for name in inner.data:
        if not _CLASSIC_NAME.fullmatch(name):
            message = f"{name!r} is no name of letters, digits and _; write it in matchers"
            inner.report(name, message, of_key=True)
            continue
        if op is MatchOp.REGEX and not inner.has(name):
            inner.report(name, f"{name} needs a regular expression")
            continue
        try:
            found.append(Matcher(op, name, inner.text(name)))
        except ValueError as error:
            inner.report(name, str(error))
    return found
