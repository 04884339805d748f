"""What the configuration says of one channel of a receiver, and who reads it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from alerts.notify.definition import DEFAULT_TIMEOUT_S, ChannelDefinition
from alerts.notify.http_config import HTTPConfig
from alerts.notify.settings import Value
from alerts.sections import Section


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One entry of a receiver, such as one of its ``slack_configs``.

    Attributes:
        kind: Name of the channel, such as ``slack``.
        send_resolved: Whether it is told about alerts that ended.
        definition: What its channel file says; None in an entry that no catalogue read.
        settings: What the entry sets, by name.
        http: How requests are authorized and sent.
        timeout_s: Longest wait for an answer, in seconds.
    """

    kind: str
    send_resolved: bool
    definition: ChannelDefinition | None = None
    settings: Mapping[str, Value] = field(default_factory=dict, repr=False)
    http: HTTPConfig = field(default_factory=HTTPConfig, repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S


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
