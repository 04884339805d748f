"""The document of metrics agrees with the definitions."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_tables_are_up_to_date() -> None:
    """docs/metrics.md lists the metrics there are."""
    done = subprocess.run(
        [sys.executable, "docs/generate_metrics.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
