"""Inhibition rules that do not come from the file: added to what it says, and to its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import yaml

from alerts.routing.matchers import format_matcher
from alerts.routing.model import InhibitRule, RoutingConfig

_KEY: Final = "inhibit_rules"
_LINE_WIDTH: Final = 10_000


def with_inhibit_rules(config: RoutingConfig, rules: Sequence[InhibitRule]) -> RoutingConfig:
    """Return a configuration that has more inhibition rules, behind its own.

    Its ``original`` has them as well, so that whoever asks sees why an alert is held back.

    Args:
        config: The configuration.
        rules: What to add.
    """
    if not rules:
        return config
    return replace(
        config,
        inhibit_rules=(*config.inhibit_rules, *rules),
        original=_with_text(config.original, rules),
    )


def _with_text(original: str, rules: Sequence[InhibitRule]) -> str:
    # Nodes and not values, so that everything else stays as it is written.
    root = yaml.compose(original, Loader=yaml.SafeLoader)
    added = yaml.compose(
        yaml.safe_dump(
            {_KEY: [_entry(rule) for rule in rules]}, sort_keys=False, width=_LINE_WIDTH
        ),
        Loader=yaml.SafeLoader,
    )
    if not isinstance(root, yaml.MappingNode) or not isinstance(added, yaml.MappingNode):
        return original
    [(key, entries)] = added.value
    own = next((value for name, value in root.value if name.value == _KEY), None)
    if isinstance(own, yaml.SequenceNode):
        own.value.extend(entries.value)
    else:  # it is absent, or there and nothing
        root.value = [entry for entry in root.value if entry[0].value != _KEY]
        root.value.append((key, entries))
    text: str = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=_LINE_WIDTH)
    return text


def _entry(rule: InhibitRule) -> dict[str, object]:
    entry: dict[str, object] = {"name": rule.name} if rule.name else {}
    entry["source_matchers"] = [format_matcher(matcher) for matcher in rule.source_matchers]
    entry["target_matchers"] = [format_matcher(matcher) for matcher in rule.target_matchers]
    if rule.equal:
        entry["equal"] = list(rule.equal)
    return entry
