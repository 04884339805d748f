"""Values as columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from alerts.series.labels import Labels
from alerts.storage.columns import AnyText, digest, labels_from_text, labels_to_text

DIALECT = sqlite.dialect()


@given(st.text(st.characters() | st.sampled_from("\x00\x1b;0\ud800")))
def test_any_text(text: str) -> None:
    """Any text comes back, and what is stored is such as every database takes."""
    stored = AnyText().process_bind_param(text, DIALECT)

    assert stored is not None
    assert "\x00" not in stored
    stored.encode()
    assert AnyText().process_result_value(stored, DIALECT) == text


@pytest.mark.parametrize("text", ["", "plain", 'C:\\ "ü"\n', "\x1b[31mred", "\x1b"])
def test_text_of_before(text: str) -> None:
    """Text that was stored as it is comes back as it is."""
    assert AnyText().process_result_value(text, DIALECT) == text


def test_none() -> None:
    """No text is no text."""
    assert AnyText().process_bind_param(None, DIALECT) is None
    assert AnyText().process_result_value(None, DIALECT) is None


@given(st.dictionaries(st.text(), st.text()))
def test_labels(labels: dict[str, str]) -> None:
    """Labels come back from text that is ASCII without control characters."""
    text = labels_to_text(Labels(labels))

    assert text.isascii()
    assert text.isprintable()
    assert labels_from_text(text) == Labels(labels)


def test_digest() -> None:
    """A digest tells texts apart, also where one ends and the next begins."""
    digests = {digest("a", "bc"), digest("ab", "c"), digest("abc"), digest("a", "b", "c")}

    assert {len(value) for value in digests} == {32}
    assert len(digests) == 4
