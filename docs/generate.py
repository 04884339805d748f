"""Writes what the files here say of the code from the code itself, so that it cannot be wrong.

python docs/generate.py           writes the tables between the marks, and the dashboards
python docs/generate.py --check   names the files that would change; exit code 1 if there are any
"""  # noqa: INP001 - a script

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from generating import channel_tables, metric_tables, setting_tables, span_tables
from generating.dashboard_files import rendered
from generating.dashboard_panels import DASHBOARDS

HERE: Final = Path(__file__).parent
BEGIN: Final = "<!-- tables: begin (python docs/generate.py) -->"
END: Final = "<!-- tables: end -->"
TABLES: Final = {
    "channels.md": channel_tables.tables,
    "configuration.md": setting_tables.tables,
    "metrics.md": metric_tables.tables,
    "traces.md": span_tables.tables,
}


def files() -> Iterator[tuple[Path, str]]:
    """Yield each file with the text that it should have."""
    for name, tables in TABLES.items():
        yield HERE / name, with_tables((HERE / name).read_text("utf-8"), tables())
    for dashboard in DASHBOARDS:
        yield HERE / "dashboards" / f"{dashboard.name}.json", rendered(dashboard)


def with_tables(page: str, tables: str) -> str:
    """Return a page with what is between its marks written anew.

    Raises:
        ValueError: The page has no marks.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if pattern.search(page) is None:
        raise ValueError(f"the page has no lines {BEGIN} and {END}:\n{page[:200]}")
    text = f"{BEGIN}\n\n{tables.strip()}\n\n{END}"
    return pattern.sub(lambda _: text, page)


def main(arguments: list[str]) -> int:
    """Write or check the files and return the exit code."""
    changed = [
        (file, text)
        for file, text in files()
        if not file.exists() or file.read_text("utf-8") != text
    ]
    if arguments == ["--check"]:
        for file, _ in changed:
            sys.stderr.write(f"{file} is out of date: python docs/generate.py\n")
        return int(bool(changed))
    for file, text in changed:
        file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
