"""The examples in the document of channels."""

from pathlib import Path

import pytest

from alerts.notify.catalogue import ChannelCatalogue
from alerts.routing.config import load_routing
from tests.test_documents import write_files

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["channels/alertmanager.yml"])
def test_examples_are_good(tmp_path: Path, name: str) -> None:
    """The file and the channel in the document can be read."""
    write_files(ROOT / "docs" / "channels.md", tmp_path)
    catalogue = ChannelCatalogue.shipped([tmp_path / "channels" / "mine"])

    assert "pager" in catalogue.kinds
    assert load_routing(tmp_path / name, channels=catalogue).receivers["team"].channels
