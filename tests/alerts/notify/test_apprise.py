"""The channel that leaves sending to Apprise, with a webhook of Apprise's on loopback."""

from __future__ import annotations

import pytest

from alerts.clock import ManualClock
from alerts.notify import apprise_sender
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.errors import DeliveryError
from tests.support.alerts import FakeTransport, make_notification
from tests.support.channel_servers.server import Asked, Said, strict_server
from tests.support.channels import good_entry

pytest.importorskip("apprise")
# What Apprise imports is its own business.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def rules(asked: Asked) -> Said:
    """Take what Apprise posts."""
    body = asked.json
    return Said(200 if body["title"] and body["message"] else 400)


async def tell(url: str) -> None:
    """Send a notification to a URL of Apprise's."""
    clock = ManualClock()
    context = ChannelContext(FakeTransport(clock), clock)
    (channel,) = build_channels("ops", [good_entry("apprise", {"url": url})], context)
    await channel.deliver(make_notification())


async def test_delivered() -> None:
    """Title and text arrive, as a failure while something fires."""
    async with strict_server(rules) as server:
        await tell(server.url.replace("http://", "json://"))

    (asked,) = server.asked
    assert asked.json["title"] == "[FIRING:1] Down"
    assert asked.json["type"] == "failure"


async def test_not_delivered() -> None:
    """What Apprise could not send is tried again; a URL it does not know is not."""
    async with strict_server(rules) as server:
        server.next.append(Said(500))
        with pytest.raises(DeliveryError) as failed:
            await tell(server.url.replace("http://", "json://") + "/T0K3NT0K3N")
    with pytest.raises(DeliveryError) as unknown:
        await tell("nothing://T0K3NT0K3N")

    assert not failed.value.permanent
    assert unknown.value.permanent
    assert "T0K3N" not in f"{failed.value}{unknown.value}"


def test_says_what_to_install() -> None:
    """The message for those who have it not names the package."""
    assert "gatewatch[apprise]" in apprise_sender.MISSING
