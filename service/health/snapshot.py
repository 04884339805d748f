"""A check at one moment, as listeners, answers and metrics get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from service.health.maintenance import Period
from service.health.state import CheckState, CheckStatus

_HTTP_STATUS: Final = "http.response.status_code"


@dataclass(frozen=True, slots=True)
class CheckSnapshot:
    """A check and its state at one moment.

    Attributes:
        name: The check.
        target: What it looks at.
        interval_s: Seconds between runs.
        timeout_s: Seconds one run may take.
        status: Where its own results lead, and the last of them.
        state: What is reported of it.
        since_s: Unix time from which that was so.
        group: The group it belongs to; empty: none.
        depends_on: Names of the checks it needs.
        held_by: Which of those, or of those below them, hold its failures back.
        maintenance: The maintenance window that is open.
    """

    name: str
    target: str
    interval_s: float
    timeout_s: float
    status: CheckStatus
    state: CheckState
    since_s: float
    group: str = ""
    depends_on: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()
    maintenance: Period | None = None

    @property
    def probe_success(self) -> int | None:
        """Whether the last run succeeded, 0 or 1; None before the first."""
        last = self.status.last
        return None if last is None else int(last.success)

    @property
    def http_status(self) -> int | None:
        """The HTTP status the last run received, 0 for none; None before the first."""
        last = self.status.last
        return None if last is None else int(last.attributes.get(_HTTP_STATUS, 0))

    @property
    def reason(self) -> str:
        """Why it is reported as it is, for a person; may be empty."""
        last = self.status.last
        found = "" if last is None else last.reason
        match self.state:
            case CheckState.HELD:
                return f"{' and '.join(self.held_by)} fails; {found}".removesuffix("; ")
            case CheckState.MAINTENANCE:
                name = "" if self.maintenance is None else self.maintenance.name
                return f"maintenance: {name}".removesuffix(": ")
            case _:
                return found


CheckListener = Callable[[CheckSnapshot, CheckSnapshot], None]
"""Called after every run, and when the state changes without one; must be quick.

Gets the snapshots before and after. After a run ``status`` is another than before.
"""
