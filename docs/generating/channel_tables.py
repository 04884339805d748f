"""The tables of docs/channels.md, from the channel files."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.durations import format_duration
from alerts.notify.catalogue import NOT_SHIPPED, ChannelCatalogue
from alerts.notify.definition import ChannelDefinition, Pace
from alerts.notify.settings import Limit, Seconds, SettingDefinition, Written


def tables() -> str:
    """Return the list of channels and, for each, a table of its settings."""
    definitions = ChannelCatalogue.shipped().definitions
    lines = ["| entries | channel | told of ends | pace |", "|---|---|---|---|"]
    for definition in sorted(definitions.values(), key=lambda each: each.kind):
        title = f"[{definition.title}]({definition.documentation})"
        ends = "yes" if definition.send_resolved else "no"
        pace = ", ".join(map(_pace, definition.pace)) or "no limit"
        lines.append(
            f"| [`{definition.kind}_configs`](#{definition.kind}) | {title} | {ends} | {pace} |"
        )
    lines += ["", "Alertmanager has these, and gatewatch has not:", ""]
    lines += [f"- `{kind}_configs`: {instead}." for kind, instead in sorted(NOT_SHIPPED.items())]
    for definition in sorted(definitions.values(), key=lambda each: each.kind):
        lines += ["", *_section(definition)]
    return "\n".join(lines)


def _section(definition: ChannelDefinition) -> Iterator[str]:
    yield from (f"### {definition.kind}", "")
    for names in definition.alternatives:
        listed = " and ".join(f"`{name}`" for name in names)
        yield from (f"Of {listed} one is set, and only one.", "")
    if definition.needs_authorization:
        yield from ("`http_config.authorization` holds the credentials.", "")
    yield from ("| setting | takes | default | meaning |", "|---|---|---|---|")
    for setting in definition.settings:
        cells = (f"`{setting.name}`", _takes(setting), _default(setting), _meaning(setting))
        yield f"| {' | '.join(cells)} |"


def _pace(pace: Pace) -> str:
    return f"{pace.requests} in {format_duration(pace.period_s)}"


def _takes(setting: SettingDefinition) -> str:
    if setting.choices:
        return " or ".join(f"`{choice}`" if choice else "empty" for choice in setting.choices)
    words = {
        "secret_url": "secret URL",
        "url": "URL",
        "flag": "`true` or `false`",
        "tree": "any YAML",
        "mapping": "mapping of texts",
    }
    word = words.get(setting.kind.value, setting.kind.value)
    keys = setting.keys if setting.items is None else setting.items.keys
    inside = ", ".join(f"`{key.name}`" for key in keys)
    return f"{word} of {inside}" if inside else word


def _default(setting: SettingDefinition) -> str:
    shown = ""
    match setting.default:
        case bool() as flag:
            shown = str(flag).lower()
        case int() as number:
            shown = str(number)
        case Seconds(seconds=seconds):
            shown = format_duration(seconds)
        case Written(text=text):
            shown = text.source
        case tuple() as items:
            shown = ", ".join(item.text.source for item in items if isinstance(item, Written))
        case None:
            pass
        case _:
            return "see the file"
    also = f"`global.{setting.global_key}`" if setting.global_key else ""
    if not shown:
        return also or ("**required**" if setting.required else "")
    cell = f"`{shown}`".replace("|", "\\|")
    return f"{also}, {cell}" if also else cell


def _meaning(setting: SettingDefinition) -> str:
    parts = [setting.description, _limit(setting.limit)]
    if setting.refused:
        parts.append(f"{setting.name} {setting.refused}")
    return ". ".join(part for part in parts if part).replace("|", "\\|")


def _limit(limit: Limit | None) -> str:
    if limit is None:
        return ""
    how = " (alerts are left out)" if limit.cut == "alerts" else ""
    return f"At most {limit.size} {limit.unit}{how}"
