"""The texts of notifications: Alertmanager's templates and data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TemplateLibrary:
    """The named templates there are: those that are shipped, and on top those of files.

    Attributes:
        files: Name and text of each file, in the order they were read.
    """

    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, paths: Iterable[Path]) -> TemplateLibrary:
        """Read and parse template files.

        Raises:
            DocumentError: One cannot be read or parsed; lists all problems, with line and column.
        """
        return cls(tuple((str(path), path.read_text(encoding="utf-8")) for path in paths))
