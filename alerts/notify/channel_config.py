"""What the configuration says of one channel of a receiver, and who reads it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from alerts.sections import Section


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One entry of a receiver, such as one of its ``slack_configs``.

    Attributes:
        kind: Name of the channel, such as ``slack``.
        send_resolved: Whether it is told about alerts that ended.
    """

    kind: str
    send_resolved: bool


class ChannelReader(Protocol):
    """Knows the channels there are and reads their entries."""

    @property
    def kinds(self) -> Collection[str]:
        """Names of channels; the entries of ``slack`` stand under ``slack_configs``."""

    @property
    def global_keys(self) -> Collection[str]:
        """Keys of ``global`` that are defaults of channels, such as ``slack_api_url``."""

    def read(self, kind: str, section: Section, defaults: Section | None) -> ChannelConfig:
        """Return an entry; what is wrong with it is reported to the section's problems.

        Args:
            kind: One of ``kinds``.
            section: The entry; its keys are checked here.
            defaults: The section ``global``, None when there is none.
        """
