"""Entries of receivers read as the service reads them, and channels made of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from alerts.clock import ManualClock
from alerts.documents import parse_document
from alerts.errors import Problem
from alerts.notify.catalogue import ChannelCatalogue
from alerts.notify.channel_config import ChannelConfig
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.http_channel import HTTPChannel
from alerts.notify.transport import Transport
from alerts.sections import Section, open_section
from tests.support.webhook import aiohttp_transport


class HurriedClock(ManualClock):
    """A clock on which whoever waits makes the time go by."""

    async def sleep(self, delay_s: float) -> None:
        await self.advance(delay_s)


@cache
def catalogue() -> ChannelCatalogue:
    """Return the channels that are shipped, read once."""
    return ChannelCatalogue.shipped()


def read_entry(
    kind: str,
    entry: Mapping[str, Any] | str,
    defaults: Mapping[str, Any] | None = None,
    *,
    file: str = "alertmanager.yaml",
    channels: ChannelCatalogue | None = None,
) -> tuple[ChannelConfig, list[str]]:
    """Return an entry and what is wrong with it, each as ``line:column: message``."""
    text = entry if isinstance(entry, str) else yaml.safe_dump(dict(entry), allow_unicode=True)
    problems: list[Problem] = []
    section = _section(text, file, problems)
    usual = None if defaults is None else _section(yaml.safe_dump(dict(defaults)), file, problems)
    config = (channels or catalogue()).read(kind, section, usual)
    return config, [str(each).removeprefix(f"{file}:") for each in sorted(problems)]


def _section(text: str, file: str, problems: list[Problem]) -> Section:
    document = parse_document(text, file)
    section = open_section(document, (), document.data or {}, problems, "an entry")
    assert section is not None
    return section


def good_entry(
    kind: str,
    entry: Mapping[str, Any] | str,
    defaults: Mapping[str, Any] | None = None,
    **options: Any,
) -> ChannelConfig:
    """Return an entry with which nothing is wrong."""
    config, problems = read_entry(kind, entry, defaults, **options)
    assert problems == [], problems
    return config


def channel_of(
    config: ChannelConfig,
    transport: Transport,
    clock: ManualClock | None = None,
    **options: Any,
) -> HTTPChannel:
    """Return the channel of an entry."""
    context = ChannelContext(
        transport, clock or ManualClock(), external_url="http://gatewatch.example", **options
    )
    (channel,) = build_channels("ops", [config], context)
    assert isinstance(channel, HTTPChannel)
    return channel


@asynccontextmanager
async def channel_to(
    kind: str, entry: Mapping[str, Any], clock: ManualClock | None = None, **options: Any
) -> AsyncIterator[HTTPChannel]:
    """Open a channel with a transport of its own."""
    async with aiohttp_transport() as transport:
        yield channel_of(good_entry(kind, entry), transport, clock, **options)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
