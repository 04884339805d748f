"""Secrets do not show."""

from __future__ import annotations

import pytest

from alerts.notify.secret import Secret


def test_hidden() -> None:
    """A secret only shows itself when asked to."""
    secret = Secret("https://host/T0K3N")

    assert f"{secret} {secret!r} {[secret]}" == "<secret> Secret(<secret>) [Secret(<secret>)]"
    assert secret.reveal() == "https://host/T0K3N"


@pytest.mark.parametrize(
    "message",
    [
        "cannot reach https://me:pw@host:1/hook/T0K3N?k=v",
        "404 for /hook/T0K3N?k=v",
        "me:pw was refused",
    ],
)
def test_redact(message: str) -> None:
    """A URL, its path and its user are cut out of messages; the host may stay."""
    redacted = Secret("https://me:pw@host:1/hook/T0K3N?k=v").redact(message)

    assert "T0K3N" not in redacted
    assert "pw" not in redacted


def test_redact_header() -> None:
    """The credentials of a header are cut out on their own, too."""
    assert "abc123" not in Secret("Bearer abc123").redact("token abc123 is wrong")
