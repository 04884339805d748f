"""What receivers answer may hold what they were sent; it must not show."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from alerts.notify.errors import DeliveryError
from tests.support.alerts import make_notification
from tests.support.channels import channel_of, good_entry
from tests.support.webhook import Answer, aiohttp_transport, webhook_receiver

BASIC = base64.b64encode(b"ada:hunter2secret").decode()
CREDENTIALS: list[tuple[dict[str, Any], str]] = [
    ({"basic_auth": {"username": "ada", "password": "hunter2secret"}}, BASIC),
    ({"basic_auth": {"username": "ada", "password": "hunter2secret"}}, "hunter2secret"),
    ({"authorization": {"credentials": "T0K3N-of-the-hook"}}, "T0K3N-of-the-hook"),
]


@pytest.mark.parametrize(("http_config", "secret"), CREDENTIALS)
@pytest.mark.parametrize("filler", [0, 150, 185, 195])
async def test_an_answer_that_shows_the_request(
    http_config: dict[str, Any], secret: str, filler: int
) -> None:
    """Credentials are taken out as they were sent, also where the text is cut in their middle."""
    async with webhook_receiver() as hook, aiohttp_transport() as transport:
        hook.always = Answer(400, text="x " * (filler // 2) + f"Authorization: {secret} refused")
        config = good_entry("webhook", {"url": hook.url, "http_config": http_config})
        with pytest.raises(DeliveryError) as caught:
            await channel_of(config, transport).deliver(make_notification("n1"))

    said = str(caught.value)
    assert all(secret[:length] not in said for length in range(5, len(secret)))


async def test_the_path_of_a_url_that_is_cut() -> None:
    """Half a token is as bad as a whole one."""
    async with webhook_receiver() as hook, aiohttp_transport() as transport:
        hook.always = Answer(404, text="y" * 190 + " /QWERTYTOKENQWERTY is not here")
        config = good_entry("webhook", {"url": f"{hook.url}/QWERTYTOKENQWERTY"})
        with pytest.raises(DeliveryError) as caught:
            await channel_of(config, transport).deliver(make_notification("n1"))

    assert "QWERT" not in str(caught.value)


async def test_ordinary_words_of_a_path_show() -> None:
    """A path such as /team/alerts hides neither of these words where they stand for themselves."""
    async with webhook_receiver() as hook, aiohttp_transport() as transport:
        hook.always = Answer(400, text="no alerts for the team, firing or not")
        config = good_entry("webhook", {"url": hook.url.replace("/hook", "/team/firing/alerts")})
        with pytest.raises(DeliveryError, match="no alerts for the team, firing or not"):
            await channel_of(config, transport).deliver(make_notification("n1"))
