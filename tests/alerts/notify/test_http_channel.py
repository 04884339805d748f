"""Channels by HTTP: authorization, files, addresses, pace, and how connections are made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alerts.clock import ManualClock
from alerts.notify.catalogue import ChannelCatalogue
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.http_config import Authorization, HTTPConfig
from alerts.notify.secret import Secret
from alerts.notify.transport import TransportRequest, TransportResponse
from tests.support.alerts import make_alert, make_notification
from tests.support.channels import (
    HurriedClock,
    channel_of,
    good_entry,
    read_entry,
    write_files,
)


class Answering:
    """A transport that keeps requests and answers by URL, 200 unless told otherwise."""

    def __init__(self) -> None:
        self.requests: list[TransportRequest] = []
        self.answers: dict[str, list[TransportResponse]] = {}

    async def send(self, request: TransportRequest) -> TransportResponse:
        self.requests.append(request)
        await asyncio.sleep(0)
        waiting = self.answers.get(request.url)
        return waiting.pop(0) if waiting else TransportResponse(200, {}, b"")

    def answer(self, url: str, status: int, data: object = "") -> None:
        """Say how to answer the next request for a URL."""
        body = json.dumps(data).encode()
        self.answers.setdefault(url, []).append(TransportResponse(status, {}, body))


async def sent(entry: Mapping[str, Any], **options: Any) -> TransportRequest:
    """Return the request a webhook makes."""
    transport = Answering()
    config = good_entry("webhook", {"url": "http://h/x", **entry}, **options)
    await channel_of(config, transport).deliver(make_notification())
    return transport.requests[-1]


async def refused(entry: Mapping[str, Any], transport: Answering | None = None) -> DeliveryError:
    """Return why a webhook cannot tell."""
    config = good_entry("webhook", {"url": "http://h/x", **entry})
    with pytest.raises(DeliveryError) as caught:
        await channel_of(config, transport or Answering()).deliver(make_notification())
    return caught.value


@pytest.mark.parametrize(
    ("http_config", "headers"),
    [
        ({"basic_auth": {"username": "u", "password": "p"}}, {"Authorization": "Basic dTpw"}),
        ({"authorization": {"credentials": "c"}}, {"Authorization": "Bearer c"}),
        ({"authorization": {"type": "Token", "credentials": "c"}}, {"Authorization": "Token c"}),
        ({"bearer_token": "c"}, {"Authorization": "Bearer c"}),
        ({"authorization": {"credentials_file": "file"}}, {"Authorization": "Bearer in-file"}),
        ({"basic_auth": {"username_file": "file"}}, {"Authorization": "Basic aW4tZmlsZTo="}),
        (
            {"http_headers": {"X-A": {"values": ["1", "2"], "secrets": ["3"], "files": ["file"]}}},
            {"X-A": "1, 2, 3, in-file"},
        ),
    ],
)
async def test_authorization(
    tmp_path: Path, http_config: dict[str, Any], headers: dict[str, str]
) -> None:
    """Credentials of the configuration and of files become header fields."""
    write_files(tmp_path, {"file": "in-file\n"})
    request = await sent({"http_config": http_config}, file=str(tmp_path / "am.yml"))

    assert headers.items() <= request.headers.items()


async def test_global_http_config() -> None:
    """What is said for all entries counts for those that say nothing themselves."""
    usual = {"http_config": {"bearer_token": "g", "proxy_url": "http://proxy:1"}}
    inherited = await sent({}, defaults=usual)
    own = await sent({"http_config": {"bearer_token": "o"}}, defaults=usual)

    assert inherited.headers["Authorization"] == "Bearer g"
    assert own.headers["Authorization"] == "Bearer o"
    assert own.connection.proxy.url == Secret("http://proxy:1")


@pytest.mark.parametrize(
    ("http_config", "problem"),
    [
        ("{basic_auth: {}, bearer_token: x}", "basic_auth and bearer_token exclude each other"),
        ("{authorization: {type: Basic, credentials: x}}", "type must not be Basic"),
        ("{authorization: {}}", "credentials is missing"),
        ("{authorization: {credentials_ref: x}}", "credentials_ref is not supported yet"),
        ("{oauth2: {client_id: a, token_url: x, client_secret: s}}", "token_url is no URL"),
        ("{oauth2: {client_id: a, token_url: http://h}}", "client_secret is missing"),
        (
            "{oauth2: {client_id: a, token_url: http://h, client_secret: s, grant_type: x}}",
            "only client_credentials is",
        ),
        ("{tls_config: {cert: x}}", "a certificate and its key belong together"),
        ("{tls_config: {min_version: TLS9}}", "min_version must be one of"),
        ("{proxy_url: x}", "proxy_url is no URL"),
        ("{proxy_url: http://p, proxy_from_environment: true}", "proxy_from_environment excludes"),
        ("{no_proxy: x}", "no_proxy needs proxy_url"),
        ("{http_headers: {Host: {values: [x]}}}", "the header field Host cannot be set"),
        ("{http_headers: {'a b': {values: [x]}}}", "is no name of a header field"),
        ("{nope: 1}", "http_config has no key 'nope'"),
    ],
)
def test_wrong_http_config(http_config: str, problem: str) -> None:
    """What is wrong with it is said with its place."""
    _, problems = read_entry("webhook", f"{{url: http://h, http_config: {http_config}}}")

    assert any(problem in each for each in problems), problems


OAUTH2 = {
    "oauth2": {
        "client_id": "me",
        "client_secret": "S3CR3TS3CR3T",
        "token_url": "http://login/token",
        "scopes": ["a", "b"],
        "endpoint_params": {"audience": "x"},
    }
}


async def test_oauth2() -> None:
    """A token is asked for once and used until it ends."""
    clock, transport = ManualClock(), Answering()
    transport.answer("http://login/token", 200, {"access_token": "T1", "expires_in": 100})
    transport.answer("http://login/token", 200, {"access_token": "T2"})
    channel = channel_of(
        good_entry("webhook", {"url": "http://h/x", "http_config": OAUTH2}), transport, clock
    )
    await channel.deliver(make_notification("n1"))
    await channel.deliver(make_notification("n2"))
    await clock.advance(91)
    await channel.deliver(make_notification("n3"))

    asked, first, second, again, third = transport.requests
    assert asked.body == b"grant_type=client_credentials&audience=x&scope=a+b"
    assert asked.headers["Authorization"].startswith("Basic ")
    assert again.url == asked.url
    assert [each.headers["Authorization"] for each in (first, second, third)] == [
        *("Bearer T1", "Bearer T1", "Bearer T2")
    ]


async def test_oauth2_in_the_body() -> None:
    """A server that takes no credentials in the header gets them in the body."""
    transport = Answering()
    transport.answer("http://login/token", 401, {"error": "invalid_client"})
    transport.answer("http://login/token", 200, {"access_token": "T1"})
    config = good_entry("webhook", {"url": "http://h/x", "http_config": OAUTH2})
    await channel_of(config, transport).deliver(make_notification())

    assert b"client_id=me&client_secret=S3CR3TS3CR3T" in transport.requests[1].body


async def test_oauth2_token_not_taken() -> None:
    """A token that is not taken any more is asked for anew at the next attempt."""
    transport = Answering()
    for token in ("T1", "T2"):
        transport.answer("http://login/token", 200, {"access_token": token})
    transport.answer("http://h/x", 401)
    channel = channel_of(
        good_entry("webhook", {"url": "http://h/x", "http_config": OAUTH2}), transport
    )
    with pytest.raises(DeliveryError) as caught:
        await channel.deliver(make_notification())
    await channel.deliver(make_notification())

    assert not caught.value.permanent
    assert transport.requests[-1].headers["Authorization"] == "Bearer T2"


@pytest.mark.parametrize(
    ("status", "data", "permanent"),
    [
        (400, {"error": "invalid_client", "error_description": "S3CR3TS3CR3T is wrong"}, True),
        (200, {"nothing": 1}, True),
        (200, [], True),
        (503, {}, False),
    ],
)
async def test_oauth2_refused(status: int, data: object, permanent: bool) -> None:
    """Without a token nothing is sent, and the secret does not show."""
    transport = Answering()
    transport.answer("http://login/token", status, data)
    transport.answer("http://login/token", status, data)
    error = await refused({"http_config": OAUTH2}, transport)

    assert error.permanent == permanent
    assert "S3CR3TS3CR3T" not in str(error)
    assert all(request.url == "http://login/token" for request in transport.requests)


async def test_url_in_a_file(tmp_path: Path) -> None:
    """A file is read at each attempt, so that what is in it can be changed; its loss is no end."""
    transport = Answering()
    entry = {"url_file": "url"}
    config = good_entry("webhook", entry, file=str(tmp_path / "am.yml"))
    channel = channel_of(config, transport)
    with pytest.raises(DeliveryError, match="cannot read") as caught:
        await channel.deliver(make_notification())
    for text in ("http://h/one\n", "http://h/two?{{ .Status }}"):
        write_files(tmp_path, {"url": text})
        await channel.deliver(make_notification())

    assert (caught.value.reason, caught.value.permanent) == (FailureReason.CONFIGURATION, False)
    assert [each.url for each in transport.requests] == ["http://h/one", "http://h/two?firing"]


@pytest.mark.parametrize(
    ("url", "public_only"),
    [
        ("http://127.0.0.1/x", False),
        ("http://127.0.0.1/{{ .Status }}", False),
        ("http://{{ .CommonLabels.host }}a/x", True),
        ("http://h{{ .Status }}", True),
    ],
)
async def test_address_from_data(url: str, public_only: bool) -> None:
    """Where data of alerts decides about the host, only public addresses are reached."""
    assert (await sent({"url": url})).connection.public_only == public_only


async def test_no_private_addresses() -> None:
    """Where the setting forbids it, no channel reaches private addresses."""
    transport = Answering()
    config = good_entry("webhook", {"url": "http://h/x"})
    await channel_of(config, transport, allow_private=False).deliver(make_notification())

    assert transport.requests[0].connection.public_only


async def test_no_url() -> None:
    """A template that makes no URL is said to, without what it made."""
    error = await refused({"url": "{{ .Status }}T0K3N"})

    assert (error.reason, error.permanent) == (FailureReason.CONFIGURATION, True)
    assert "T0K3N" not in str(error)


async def test_shared_pace() -> None:
    """Two entries for the same robot share its limit; others do not wait."""
    clock, transport = ManualClock(), Answering()
    transport.answers = {}
    context = ChannelContext(transport, clock)
    url = "http://h/robot?access_token=a"
    configs = [good_entry("dingtalk", {"webhook_url": each}) for each in (url, url, f"{url}b")]
    one, two, other = build_channels("ops", configs, context)
    assert (one.key, two.key) == ("ops/dingtalk/0", "ops/dingtalk/1")
    for number in range(18):
        transport.answer(url, 200, {"errcode": 0})
        await (one if number % 2 else two).deliver(make_notification(f"n{number}"))

    assert one.ready_in_s() == two.ready_in_s() == 60.0  # type: ignore[attr-defined]  # a paced channel
    assert other.ready_in_s() == 0.0  # type: ignore[attr-defined]  # as above


async def test_pace_within_a_notification(tmp_path: Path) -> None:
    """A channel that makes a request for each alert keeps to the pace inside a notification."""
    text = (
        "channel: each\nsettings: {url: {type: url, required: true}}\n"
        "pace: [{requests: 2, per: 10s}]\n"
        "requests:\n"
        "  - {url: '{{ $settings.url }}', for_each: alert, json: {j: '{{ $alert.Labels.job }}'}}\n"
    )
    write_files(tmp_path, {"each.yaml": text})
    clock, transport = HurriedClock(), Answering()
    config = good_entry("each", {"url": "http://h"}, channels=ChannelCatalogue.shipped([tmp_path]))
    alerts = tuple(make_alert(job=str(number)) for number in range(5))
    await channel_of(config, transport, clock).deliver(make_notification(alerts=alerts))

    assert [json.loads(each.body)["j"] for each in transport.requests] == list("01234")
    assert clock.monotonic() == pytest.approx(20.0)


def test_secrets_of_http_config() -> None:
    """They can be listed, to be hidden wherever they could show."""
    config = HTTPConfig(Authorization("Bearer", Secret("a")), (("X", (Secret("b"),)),))

    assert [str(each) for each in config.secrets()] == ["<secret>", "<secret>"]
