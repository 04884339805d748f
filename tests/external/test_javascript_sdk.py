"""The JavaScript SDK of Centrifuge against the installed command."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.external.child import Child, running
from tests.external.programs import JAVASCRIPT
from tests.support.process import GatewatchProcess, run_command, serving, unused_port
from tests.support.tokens import signed

SECRET: Final = "0123456789abcdef0123456789abcdef"
BURST: Final = 400


class Client:
    """The SDK in a process of its own."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._read = 0
        self._passed: list[dict[str, Any]] = []

    async def do(self, command: str, **arguments: Any) -> None:
        """Have it call a method of the SDK."""
        await self._child.send(json.dumps({"command": command, **arguments}))

    async def event(self, name: str) -> dict[str, Any]:
        """Return the next event of a name; others wait for their turn."""
        for number, passed in enumerate(self._passed):
            if passed["event"] == name:
                return self._passed.pop(number)
        while True:
            event: dict[str, Any] = json.loads(await self._child.line(self._read))
            self._read += 1
            if event["event"] == name:
                return event
            self._passed.append(event)

    async def subscribed(self, channel: str) -> None:
        """Subscribe and expect to be let in."""
        await self.do("subscribe", channel=channel)
        assert (await self.event("subscribed"))["channel"] == channel


OpenClient = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def client(program: Callable[[str], Path], tmp_path: Path) -> OpenClient:
    """Open a client of a gateway, with options of the SDK."""
    modules = program("javascript")
    node = shutil.which("node")
    assert node is not None

    @asynccontextmanager
    async def client_of(gatewatch: GatewatchProcess, **options: Any) -> AsyncIterator[Client]:
        arguments = json.dumps({"url": gatewatch.websocket_url, **options})
        script = JAVASCRIPT / "client.cjs"
        environ = {"NODE_PATH": str(modules)}
        async with running(node, script, arguments, folder=tmp_path, environ=environ) as child:
            yield Client(child)

    return client_of


async def test_connect_and_subscribe_travel_together(client: OpenClient, tmp_path: Path):
    """Both commands in the first frame of an anonymous client are answered."""
    async with serving(tmp_path) as gatewatch, client(gatewatch) as sdk:
        await sdk.do("subscribe", channel="news")
        await sdk.do("connect")

        assert (await sdk.event("frame"))["methods"] == ["connect", "subscribe"]
        assert (await sdk.event("connected"))["client"]
        assert (await sdk.event("subscribed"))["channel"] == "news"


async def test_a_burst_arrives_whole_and_in_order(client: OpenClient, tmp_path: Path):
    """Every publication of a back end arrives once, in the order of publishing."""
    async with serving(tmp_path) as gatewatch, client(gatewatch) as sdk:
        await sdk.do("connect")
        await sdk.subscribed("news")

        for number in range(BURST):
            await gatewatch.publish("news", {"number": number})

        numbers = [(await sdk.event("publication"))["data"]["number"] for _ in range(BURST)]
        assert numbers == list(range(BURST))


async def test_what_a_client_publishes_reaches_another(client: OpenClient, tmp_path: Path):
    """The data and who published it arrive; after unsubscribing nothing does."""
    async with (
        serving(tmp_path) as gatewatch,
        client(gatewatch) as sdk,
        client(gatewatch) as other,
    ):
        for each in (sdk, other):
            await each.do("connect")
            await each.subscribed("chat")

        await sdk.do("publish", channel="chat", data="hello")
        await sdk.event("published")
        arrived = await other.event("publication")
        assert (arrived["data"], arrived["info"]["user"]) == ("hello", "")

        await other.do("unsubscribe", channel="chat")
        assert (await other.event("unsubscribed"))["code"] == 0
        await other.subscribed("fence")
        await gatewatch.publish("chat", "missed")
        await gatewatch.publish("fence", "seen")
        assert (await other.event("publication"))["data"] == "seen"


async def test_a_token_of_the_command_lets_its_user_in(client: OpenClient, tmp_path: Path):
    """`gatewatch token` signs what the SDK sends and the gateway reads."""
    settings = {"gateway": {"token": {"hmac_secret": SECRET}, "allow_anonymous": False}}
    async with serving(tmp_path, settings) as gatewatch:
        token = (await run_command("token", "--user", "42", directory=tmp_path)).out.strip()
        async with client(gatewatch, token=token) as sdk:
            await sdk.do("connect")
            await sdk.subscribed("chat")
            await sdk.do("publish", channel="chat", data=1)

            assert (await sdk.event("publication"))["info"]["user"] == "42"


async def test_private_channels_open_with_a_token(client: OpenClient, tmp_path: Path):
    """The SDK asks for another one when the first has expired; without one it stays outside."""
    settings = {"gateway": {"token": {"hmac_secret": SECRET}}}
    command = ("token", "--user", "42", "--channel", "$secret", "--info", '{"role": "editor"}')
    old = signed({"sub": "42", "channel": "$secret", "exp": 1}, "HS256", SECRET)
    async with serving(tmp_path, settings) as gatewatch:
        good = (await run_command(*command, directory=tmp_path)).out.strip()
        token = (await run_command("token", "--user", "42", directory=tmp_path)).out.strip()
        async with client(gatewatch, token=token) as sdk:
            await sdk.do("connect")
            await sdk.do("subscribe", channel="$closed")
            assert (await sdk.event("unsubscribed"))["code"] == 103

            await sdk.do("subscribe", channel="$secret", tokens=[old, good])
            assert (await sdk.event("subscribed"))["channel"] == "$secret"
            await gatewatch.publish("$secret", "for those with a token")
            assert (await sdk.event("publication"))["data"] == "for those with a token"


async def test_a_token_brings_channels_along(client: OpenClient, tmp_path: Path):
    """They are server-side subscriptions of the SDK, which did not ask for them."""
    settings = {"gateway": {"token": {"hmac_secret": SECRET}, "allow_anonymous": False}}
    claims = {"sub": "42", "subs": {"news": {"data": {"topic": "all"}}}}
    token = signed(claims, "HS256", SECRET)
    async with serving(tmp_path, settings) as gatewatch, client(gatewatch, token=token) as sdk:
        await sdk.do("connect")
        assert (await sdk.event("brought along"))["data"] == {"topic": "all"}

        await gatewatch.publish("news", "hello")

        arrived = await sdk.event("brought")
        assert (arrived["channel"], arrived["data"]) == ("news", "hello")


@pytest.mark.parametrize(
    ("options", "code"), [({}, 3507), ({"token": "no.such.token"}, 3500)], ids=["none", "wrong"]
)
async def test_without_a_good_token_there_is_no_way_in(
    client: OpenClient, tmp_path: Path, options: dict[str, str], code: int
):
    """The SDK takes the code as final and does not come back."""
    settings = {"gateway": {"token": {"hmac_secret": SECRET}, "allow_anonymous": False}}
    async with serving(tmp_path, settings) as gatewatch, client(gatewatch, **options) as sdk:
        await sdk.do("connect")

        assert (await sdk.event("disconnected"))["code"] == code


async def test_refusals_carry_the_codes_of_the_protocol(client: OpenClient, tmp_path: Path):
    """An unknown namespace is 102; publishing where it is not allowed is 103."""
    settings = {"gateway": {"namespaces": [{"name": "closed"}]}}
    async with serving(tmp_path, settings) as gatewatch, client(gatewatch) as sdk:
        await sdk.do("connect")

        await sdk.do("subscribe", channel="nowhere:a")
        assert (await sdk.event("unsubscribed"))["code"] == 102

        await sdk.do("publish", channel="closed:a", data=1)
        assert (await sdk.event("failed"))["code"] == 103


async def test_after_a_restart_the_client_is_back(client: OpenClient, tmp_path: Path):
    """SIGTERM tells it to reconnect, and its subscriptions come back with it."""
    settings = {"gateway": {"port": unused_port()}}
    async with serving(tmp_path, settings) as first, client(first) as sdk:
        await sdk.do("connect")
        await sdk.subscribed("news")
        assert (await sdk.event("connecting"))["code"] == 0

        assert (await first.end(signal.SIGTERM)).code == 0
        assert (await sdk.event("connecting"))["code"] == 3001

        async with serving(tmp_path, settings) as second:
            await sdk.event("connected")
            await sdk.event("subscribed")
            await second.publish("news", "after")
            assert (await sdk.event("publication"))["data"] == "after"
