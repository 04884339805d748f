"""How the command is started where it matters."""

import pytest

from tests.support.process import INSTALLED


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the installed script itself: what a forked process does at its end only looks alike."""
    monkeypatch.setenv(INSTALLED, "1")
