"""Routes and receivers for tests, as a file would say them."""

from __future__ import annotations

from pathlib import Path

from alerts.documents import parse_document
from alerts.notify.catalogue import ChannelCatalogue
from alerts.routing.config import read_routing
from alerts.routing.model import RoutingConfig


def routing(text: str, *, base_dir: Path = Path()) -> RoutingConfig:
    """Read a text as the file ``am.yml`` with the channels there are."""
    document = parse_document(text, "am.yml")
    return read_routing(document, channels=ChannelCatalogue.shipped(), base_dir=base_dir)
