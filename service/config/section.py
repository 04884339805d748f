"""What all sections of the settings have in common."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


def repeated(names: Sequence[str]) -> int | None:
    """Return the index of the first name that stands earlier in the list as well."""
    return next((index for index, name in enumerate(names) if name in names[:index]), None)


class Section(BaseModel):
    """A part of the file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
