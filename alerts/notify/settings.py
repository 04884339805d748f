"""The settings of a channel: what a channel file says of them, and what an entry sets them to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from alerts.notify.templates import Text


class SettingKind(StrEnum):
    """What can be written for a setting."""

    TEXT = "text"
    URL = "url"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    SECRET_URL = "secret_url"  # noqa: S105 - as above
    FLAG = "flag"
    NUMBER = "number"
    DURATION = "duration"
    LIST = "list"
    GROUP = "group"
    MAPPING = "mapping"
    TREE = "tree"

    @property
    def is_text(self) -> bool:
        """Whether it is a text, which may be a template or stand in a file."""
        return self in (self.TEXT, self.URL, self.SECRET, self.SECRET_URL)

    @property
    def is_secret(self) -> bool:
        """Whether it must not show."""
        return self in (self.SECRET, self.SECRET_URL)

    @property
    def is_url(self) -> bool:
        """Whether it is a URL."""
        return self in (self.URL, self.SECRET_URL)


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a text may be.

    Attributes:
        size: Most characters or bytes.
        unit: What is counted; bytes are those of UTF-8.
        cut: How a longer text is shortened: at its ``end``, after a whole line, or by expanding
            its template with fewer ``alerts``.
    """

    size: int
    unit: Literal["characters", "bytes"] = "characters"
    cut: Literal["end", "lines", "alerts"] = "end"


@dataclass(frozen=True, slots=True)
class Written:
    """A text of the configuration, maybe a template.

    Attributes:
        text: The template.
        is_secret: Whether it must not show.
    """

    text: Text = field(repr=False)
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class InFile:
    """A text that is read from a file each time it is used, so that it can be changed there.

    Attributes:
        path: The file.
        is_secret: Whether what is in it must not show.
    """

    path: Path
    is_secret: bool = True


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration in seconds."""

    seconds: float


Value = (
    Written
    | InFile
    | Seconds
    | bool
    | int
    | float
    | None
    | tuple["Value", ...]
    | Mapping[str, "Value"]
)
"""What a setting is set to."""


@dataclass(frozen=True, slots=True)
class SettingDefinition:
    """What a channel file says of one setting.

    Attributes:
        name: Its key in an entry; texts can also be given as a file by ``NAME_file``.
        kind: What can be written for it.
        description: For people.
        default: What it is when it is not set.
        required: Whether an entry without it is wrong.
        global_key: Key of ``global`` that sets it for all entries; empty for none.
        limit: How long its text may be.
        choices: What its text may be, unless it is a template; empty: anything.
        pattern: Regular expression its text must match, unless it is a template; empty: anything.
        html: Whether values in its text are escaped for HTML: never, always, or while another
            setting has a value.
        items: What the items of a list are.
        keys: What the keys of a group are.
        default_setting: Setting beside the group that gives the default.
        refused: Why it cannot be used; empty when it can.
    """

    name: str
    kind: SettingKind
    description: str = ""
    default: Value = None
    required: bool = False
    global_key: str = ""
    limit: Limit | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    html: bool | tuple[str, str] = False
    items: SettingDefinition | None = None
    keys: tuple[SettingDefinition, ...] = ()
    default_setting: str = ""
    refused: str = ""


def texts_of(value: Value) -> tuple[Written, ...]:
    """Return all texts in a value."""
    match value:
        case Written():
            return (value,)
        case tuple():
            return tuple(text for item in value for text in texts_of(item))
        case Mapping():
            return tuple(text for item in value.values() for text in texts_of(item))
        case _:
            return ()


def files_of(value: Value) -> tuple[InFile, ...]:
    """Return all texts in a value that stand in files."""
    match value:
        case InFile():
            return (value,)
        case tuple():
            return tuple(file for item in value for file in files_of(item))
        case Mapping():
            return tuple(file for item in value.values() for file in files_of(item))
        case _:
            return ()
