"""A strict reader of the two text formats of metrics: whatever is not exactly right is an error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
_VALUE = r"[+-]?Inf|NaN|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_LABELS = rf"\{{(?:{_LABEL}(?:,{_LABEL})*)?\}}"
_SAMPLE = re.compile(rf"({_NAME})({_LABELS})? ({_VALUE})(?: # ({_LABELS}) ({_VALUE}) (\d+\.\d+))?")
_HEADER = re.compile(rf"# (HELP|TYPE|UNIT) ({_NAME}) ?(.*)")
_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "info": ("_info",),
    "histogram": ("_bucket", "_sum", "_count"),
}
_UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = dict[str, str]


@dataclass
class ParsedFamily:
    """A family: its type, help and unit, and samples as (name, labels, value, exemplar labels)."""

    type: str = ""
    help: str = ""
    unit: str = ""
    samples: list[tuple[str, Labels, float, Labels]] = field(default_factory=list)


def parse_exposition(text: str, *, openmetrics: bool = False) -> dict[str, ParsedFamily]:
    """Return the families of a page, by name.

    Raises:
        AssertionError: Something is not as the format demands; says which line.
    """
    assert text.endswith("\n"), "the last line is not terminated"
    lines = text[:-1].split("\n")
    if openmetrics:
        assert lines.pop() == "# EOF", "OpenMetrics ends with # EOF"
    families: dict[str, ParsedFamily] = {}
    current = ""
    seen: set[tuple[str, str]] = set()
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header:
            kind, current, rest = header.groups()
            assert current not in list(families)[:-1], f"{current} is in two places: {line}"
            family = families.setdefault(current, ParsedFamily())
            assert not family.samples, f"header after samples: {line}"
            setattr(family, kind.lower(), rest)
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample, f"not a sample: {line}"
        name, labels_text = sample[1], sample[2] or ""
        family = families[current]
        suffixes = _SUFFIXES[family.type] if openmetrics or family.type == "histogram" else ("",)
        assert name in {current + suffix for suffix in suffixes}, f"{name} is not of {current}"
        assert (name, labels_text) not in seen, f"twice: {line}"
        seen.add((name, labels_text))
        exemplar = _labels(re.search(r" # (\{.*?\})", line)[1]) if " # {" in line else {}  # type: ignore[index]  # the search matches
        value = float(re.sub(r" # .*", "", line).rsplit(" ", 1)[1].replace("Inf", "inf"))
        family.samples.append((name, _labels(labels_text), value, exemplar))
    for name, family in families.items():
        _check(name, family, openmetrics=openmetrics)
    return families


def _labels(text: str) -> Labels:
    pairs = re.findall(_LABEL, text)
    labels = {
        name: re.sub(r"\\.", lambda escape: _UNESCAPED[escape[0]], value) for name, value in pairs
    }
    assert len(labels) == len(pairs), f"a label comes twice: {text}"
    return labels


def _check(name: str, family: ParsedFamily, *, openmetrics: bool) -> None:
    assert family.type in _SUFFIXES, f"{name} has no type"
    if family.unit:
        assert name.endswith(f"_{family.unit}"), f"{name} does not end with its unit {family.unit}"
    if openmetrics and family.type == "counter":
        assert not name.endswith("_total"), f"{name}: a counter family has no suffix"
    if family.type == "histogram":
        _check_histogram(name, family)


def _check_histogram(name: str, family: ParsedFamily) -> None:
    """Every series has its buckets in order, up to +Inf, which equals the count."""
    counts = {
        tuple(sorted(labels.items())): value
        for sample, labels, value, _ in family.samples
        if sample == f"{name}_count"
    }
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for sample, labels, value, _ in family.samples:
        if sample == f"{name}_bucket":
            rest = tuple(sorted((key, item) for key, item in labels.items() if key != "le"))
            buckets.setdefault(rest, []).append((float(labels["le"]), value))
    assert buckets.keys() == counts.keys(), f"{name}: buckets and counts differ in their series"
    for series, found in buckets.items():
        assert found == sorted(found), f"{name}: buckets out of order"
        assert found[-1] == (float("inf"), counts[series]), f"{name}: +Inf is not the count"
