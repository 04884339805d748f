"""What can be wrong with a template."""

from __future__ import annotations

from alerts.errors import AlertsError


class TemplateError(AlertsError):
    """A template that cannot be parsed or executed.

    Attributes:
        offset: Index of the character in the template where it goes wrong.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset
