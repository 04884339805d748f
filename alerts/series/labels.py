"""Label sets: immutable, sorted, hashable; the identity of a series and of an alert."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, final

METRIC_NAME: Final = "__name__"

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_MASK_64: Final = 0xFFFFFFFFFFFFFFFF
_PLAIN_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@final
class Labels(Mapping[str, str]):
    """A label set. An empty value is the same as no label, as Prometheus has it.

    Ordered by name; compares and sorts like the tuple of its (name, value) pairs.
    """

    __slots__ = ("_fingerprint", "_hash", "_lookup", "pairs")

    pairs: tuple[tuple[str, str], ...]

    def __init__(self, labels: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        """Take labels in any order; later pairs of the same name win."""
        lookup = dict(labels)
        self.pairs = tuple(sorted((name, value) for name, value in lookup.items() if value))
        self._lookup = dict(self.pairs)
        self._hash = hash(self.pairs)
        self._fingerprint = ""

    def __getitem__(self, name: str) -> str:
        return self._lookup[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lookup)

    def __len__(self) -> int:
        return len(self.pairs)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return self.pairs == other.pairs
        return NotImplemented

    def __lt__(self, other: Labels) -> bool:
        return self.pairs < other.pairs

    def __repr__(self) -> str:
        """Show the set as PromQL writes a selector.

        Names with other than the classic letters stand in quotes, a metric's inside the braces.
        """
        metric = self.metric_name
        is_plain = not metric or _PLAIN_METRIC.fullmatch(metric) is not None
        parts = [] if is_plain else [quote(metric)]
        for name, value in self.pairs:
            if name != METRIC_NAME:
                shown = name if _PLAIN_LABEL.fullmatch(name) else quote(name)
                parts.append(f"{shown}={quote(value)}")
        before = metric if is_plain else ""
        return f"{before}{{{', '.join(parts)}}}" if parts or not before else before

    @property
    def metric_name(self) -> str:
        """The value of ``__name__``, empty when there is none."""
        return self._lookup.get(METRIC_NAME, "")

    def keep(self, names: Collection[str]) -> Labels:
        """Return the set reduced to ``names``."""
        return Labels((name, value) for name, value in self.pairs if name in names)

    def drop(self, names: Collection[str]) -> Labels:
        """Return the set without ``names``."""
        return Labels((name, value) for name, value in self.pairs if name not in names)

    def merge(self, other: Mapping[str, str]) -> Labels:
        """Return the set with ``other`` on top; an empty value in ``other`` removes the label."""
        return Labels({**self._lookup, **other})

    def fingerprint(self) -> str:
        """Return the 16 hex digits by which Alertmanager names this label set.

        Source: prometheus/common, model/signature.go (FNV-1a over names and values, each
        followed by the byte 255).
        """
        if not self._fingerprint:
            digest = _FNV_OFFSET
            for pair in self.pairs:
                for text in pair:
                    for byte in (*text.encode(), 255):
                        digest = ((digest ^ byte) * _FNV_PRIME) & _MASK_64
            self._fingerprint = f"{digest:016x}"
        return self._fingerprint


def quote(value: str) -> str:
    """Return a label value in double quotes with PromQL's escapes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
