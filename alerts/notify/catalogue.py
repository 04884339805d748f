"""The channels there are, read from files: those that are shipped, and those of the user."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from alerts.documents import read_document
from alerts.errors import DocumentError, Problem
from alerts.notify import apprise_sender
from alerts.notify.channel_config import ChannelConfig
from alerts.notify.definition import ChannelDefinition
from alerts.notify.definition_file import read_definition
from alerts.notify.http_config import HTTPConfig, read_http_config, read_tls_config
from alerts.notify.setting_reader import keys_of, read_settings
from alerts.notify.settings import Value, Written
from alerts.notify.transport import ConnectionOptions, TLSOptions
from alerts.sections import Keys, Section

SHIPPED: Final = Path(__file__).parent / "channels"
"""The folder of the channels that are shipped."""

NOT_SHIPPED: Final[Mapping[str, str]] = {
    "incidentio": "use webhook_configs with the URL of an HTTP alert source and a payload",
    "jira": "use webhook_configs with a webhook of Jira's automation",
    "sns": "use webhook_configs with an API gateway in front of the topic, or apprise_configs",
    "wechat": "use wecom_configs with a group bot, whose address is a webhook",
}
"""Channels of Alertmanager's that are not here, and what to use instead."""

_FOREIGN_GLOBAL_KEYS: Final = (
    "jira_api_url",
    "wechat_api_url",
    "wechat_api_secret",
    "wechat_api_secret_file",
    "wechat_api_corp_id",
)
_COMMON_KEYS: Final = ("send_resolved", "timeout")
_CARRIER_KEYS: Final = {"http": ("http_config",), "smtp": ("tls_config",), "apprise": ()}
_MAIL_TLS: Final = "smtp_tls_config"
_HOST_PORT: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True)
class ChannelCatalogue:
    """Knows the channels there are and reads their entries; a ``ChannelReader``.

    Attributes:
        definitions: The channels, by name.
    """

    definitions: Mapping[str, ChannelDefinition]

    @classmethod
    def shipped(cls, extra_folders: Sequence[Path] = ()) -> ChannelCatalogue:
        """Return the channels that are shipped and those of further folders.

        A channel of a folder stands in for one of the same name that was read before.

        Raises:
            DocumentError: A file is wrong; lists all problems.
        """
        problems: list[Problem] = []
        definitions = dict(_shipped())
        for folder in extra_folders:
            definitions |= _read_folder(folder, definitions, problems)
        if problems:
            raise DocumentError(problems)
        return cls(definitions)

    @property
    def kinds(self) -> Collection[str]:
        """Names of channels; the entries of ``slack`` stand under ``slack_configs``.

        Those of Alertmanager's that are not here are among them: reading one reports what to use
        instead.
        """
        return (*self.definitions, *(kind for kind in NOT_SHIPPED if kind not in self.definitions))

    @property
    def global_keys(self) -> Collection[str]:
        """Keys of ``global`` that are defaults of channels, such as ``slack_api_url``."""
        keys = {
            key
            for definition in self.definitions.values()
            for setting in definition.settings
            for key in _global_keys(setting.global_key, is_text=setting.kind.is_text)
        }
        return tuple(sorted({"http_config", _MAIL_TLS, *keys, *_FOREIGN_GLOBAL_KEYS}))

    def read(self, kind: str, section: Section, defaults: Section | None) -> ChannelConfig:
        """Return an entry; what is wrong with it is reported to the section's problems.

        Args:
            kind: One of ``kinds``.
            section: The entry; its keys are checked here.
            defaults: The section ``global``, None when there is none.
        """
        definition = self.definitions.get(kind)
        if definition is None:
            instead = NOT_SHIPPED.get(kind, "add a channel file for it")
            section.report(None, f"there is no channel {kind}; {instead}")
            return ChannelConfig(kind, send_resolved=True)
        keys = (*_COMMON_KEYS, *_CARRIER_KEYS[definition.carrier])
        section.check_keys(Keys((*keys, *keys_of(definition.settings))), f"{kind}_configs")
        settings = read_settings(definition.settings, section, defaults, definition.alternatives)
        http = self._connection(definition, section, defaults, settings)
        _check(definition, section, http)
        return ChannelConfig(
            kind,
            section.flag("send_resolved", default=definition.send_resolved),
            definition,
            settings,
            http,
            # Alertmanager's 0s, no limit, would let a receiver that hangs wait forever.
            section.duration("timeout", definition.timeout_s) or definition.timeout_s,
        )

    def _connection(
        self,
        definition: ChannelDefinition,
        section: Section,
        defaults: Section | None,
        settings: Mapping[str, Value],
    ) -> HTTPConfig:
        match definition.carrier:
            case "http":
                return read_http_config(section, defaults)
            case "smtp":
                return _read_mail(section, defaults, settings)
            case "apprise":
                return HTTPConfig()


def _global_keys(key: str, *, is_text: bool) -> tuple[str, ...]:
    if not key:
        return ()
    return (key, f"{key}_file") if is_text else (key,)


def _check(definition: ChannelDefinition, section: Section, http: HTTPConfig) -> None:
    if definition.needs_authorization and http.authorization is None:
        section.report(None, "http_config.authorization is missing: it holds the credentials")
    if definition.carrier != "apprise":
        return
    if not apprise_sender.is_installed():
        section.report(None, f"the channel apprise {apprise_sender.MISSING}")


def _read_mail(
    section: Section, defaults: Section | None, settings: Mapping[str, Value]
) -> HTTPConfig:
    """Check where the server is, and return how it is reached."""
    host = settings.get("smarthost")
    if isinstance(host, Written):
        match = _HOST_PORT.fullmatch(host.text.source)
        if match is None or not 0 < int(match[1]) < 65536:
            key = "smarthost" if section.has("smarthost") else None
            section.report(key, "smarthost must be a host and a port, such as mail.example.org:587")
    tls = read_tls_config(section, "tls_config")
    if tls is None and defaults is not None:
        tls = read_tls_config(defaults, _MAIL_TLS)
    return HTTPConfig(connection=ConnectionOptions(tls or TLSOptions()))


@cache
def _shipped() -> Mapping[str, ChannelDefinition]:
    """Return the channels that are shipped, read once: they change with the program only."""
    problems: list[Problem] = []
    definitions = _read_folder(SHIPPED, {}, problems)
    if problems:
        raise DocumentError(problems)
    return definitions


def _read_folder(
    folder: Path, known: Mapping[str, ChannelDefinition], problems: list[Problem]
) -> dict[str, ChannelDefinition]:
    if not folder.is_dir():
        problems.append(Problem(str(folder), 0, 0, "there is no such folder of channels"))
        return {}
    found: dict[str, ChannelDefinition] = {}
    files: dict[str, Path] = {}
    # A channel that is like another may stand in a file before it.
    for path in _ordered(folder):
        try:
            document = read_document(path)
        except DocumentError as error:
            problems += error.problems
            continue
        before = len(problems)
        others = [*known.values(), *found.values()]
        definition = read_definition(document, problems, others)
        if definition is None or len(problems) > before:
            continue
        if definition.kind in found:
            message = f"the channel {definition.kind!r} is defined in {files[definition.kind]} too"
            problems.append(document.problem(("channel",), message))
        found[definition.kind], files[definition.kind] = definition, path
    return found


def _ordered(folder: Path) -> Iterable[Path]:
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    return sorted(paths, key=_is_like)


def _is_like(path: Path) -> bool:
    try:
        return re.search(r"^like:", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False
