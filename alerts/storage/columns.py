"""How values become columns that every database keeps: any text, and labels as JSON.

PostgreSQL refuses the character NUL in text, and no database takes half of a surrogate pair; both
occur in what people and programs write. JSON is written in ASCII, where both are escapes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from alerts.series.labels import Labels

_ESCAPE: Final = "\x1b"
_REFUSED: Final = re.compile("[\x00\x1b\ud800-\udfff]")
_ESCAPED: Final = re.compile("\x1b([0-9a-f]{1,4});")


class AnyText(TypeDecorator[str]):
    """A column of text of any characters; those a database refuses are kept as ESC, hex, ``;``."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it is stored."""
        if value is None or _REFUSED.search(value) is None:
            return value
        return _REFUSED.sub(lambda found: f"{_ESCAPE}{ord(found[0]):x};", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text that was stored."""
        if value is None or _ESCAPE not in value:
            return value
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


def labels_to_text(labels: Labels) -> str:
    """Return a label set as the JSON a column keeps."""
    return json.dumps(labels.pairs, separators=(",", ":"))


def labels_from_text(text: str) -> Labels:
    """Return the label set of a text that ``labels_to_text`` made."""
    pairs: Iterable[tuple[str, str]] = json.loads(text)
    return Labels(pairs)


def digest(*texts: str) -> str:
    """Return the 32 hex digits that stand for texts in a key, however long they are.

    A key of PostgreSQL may not be longer than some 2,700 bytes; that of a group may.
    """
    joined = json.dumps(texts, separators=(",", ":"))
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()
