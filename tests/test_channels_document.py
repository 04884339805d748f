"""The document of channels agrees with the channel files."""

import subprocess
import sys
from pathlib import Path

import pytest

from alerts.notify.catalogue import ChannelCatalogue
from alerts.routing.config import load_routing
from tests.test_documents import write_files

ROOT = Path(__file__).parent.parent


def test_tables_are_up_to_date() -> None:
    """docs/channels.md lists the channels and settings there are."""
    done = subprocess.run(
        [sys.executable, "docs/generate_channels.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["channels/alertmanager.yml"])
def test_examples_are_good(tmp_path: Path, name: str) -> None:
    """The file and the channel in the document can be read."""
    write_files(ROOT / "docs" / "channels.md", tmp_path)
    catalogue = ChannelCatalogue.shipped([tmp_path / "channels" / "mine"])

    assert "pager" in catalogue.kinds
    assert load_routing(tmp_path / name, channels=catalogue).receivers["team"].channels
