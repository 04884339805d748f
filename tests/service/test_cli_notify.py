"""`gatewatch notify test`, as a process against a receiver on loopback."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.channel_servers.server import Asked, Said, need, strict_server
from tests.support.command import Outcome, gatewatch

RECEIVERS = """\
route: {receiver: ops}
receivers:
  - name: ops
    slack_configs: [{api_url: URL/services/T/B/T0K3NT0K3N}]
    webhook_configs: [{url: URL/hook/S3CR3TPATH}]
  - {name: nobody}
"""


def rules(asked: Asked) -> Said:
    """Take what names the test; Slack says ok."""
    need("GatewatchTest" in asked.raw.decode(), "a marked alert")
    return Said(200, "ok")


async def run(folder: Path, *arguments: str, say: Said | None = None) -> Outcome:
    """Run the command while the receiver is there."""
    (folder / "gatewatch.yaml").write_text("alerts: {alertmanager_config: am.yml}\n", "utf-8")
    async with strict_server(rules) as server:
        (folder / "am.yml").write_text(RECEIVERS.replace("URL", server.url), encoding="utf-8")
        if say is not None:
            server.next.append(say)
        return await asyncio.to_thread(gatewatch, "notify", "test", *arguments, directory=folder)


async def test_accepted(tmp_path: Path) -> None:
    """Every channel is tried; requests and answers show, what is secret does not."""
    done = await run(tmp_path, "ops")

    assert done.code == 0, done.err
    assert "ops/slack/0: accepted" in done.out
    assert "ops/webhook/0: accepted" in done.out
    assert '"alertname": "GatewatchTest"' in done.out
    assert "< 200" in done.out
    assert "POST http://127.0.0.1:" in done.out
    assert "T0K3NT0K3N" not in done.out
    assert "S3CR3TPATH" not in done.out


async def test_refused(tmp_path: Path) -> None:
    """A channel that fails makes the command fail; the others are tried all the same."""
    done = await run(tmp_path, "ops", "--json", say=Said(400, "invalid_payload"))

    told = json.loads(done.out)
    assert (done.code, told["ok"]) == (1, False)
    by_key = {each["channel"]: each for each in told["channels"]}
    assert {key: each["ok"] for key, each in by_key.items()} in (
        {"ops/slack/0": False, "ops/webhook/0": True},
        {"ops/slack/0": True, "ops/webhook/0": False},
    )
    failed = next(each for each in told["channels"] if not each["ok"])
    assert failed["permanent"]
    assert failed["requests"][0]["status"] == 400


async def test_resolved(tmp_path: Path) -> None:
    """A channel that is not told about ends is skipped, and said so."""
    done = await run(tmp_path, "ops", "--resolved")

    assert done.code == 0
    assert "ops/slack/0: skipped" in done.out
    assert '"status": "resolved"' in done.out


@pytest.mark.parametrize(("name", "code"), [("nobody", 0), ("unknown", 2)])
async def test_nothing_to_send(tmp_path: Path, name: str, code: int) -> None:
    """A receiver without channels is no failure; one that is not there is a mistake."""
    done = await run(tmp_path, name)

    assert done.code == code
    assert ("defined are nobody, ops" in done.err) == (code == 2)


MINE = """\
channel: mine
settings: {url: {type: url, required: true}}
requests: [{url: "{{ $settings.url }}", text: "{{ .CommonLabels.alertname }}"}]
"""


async def test_a_channel_of_ones_own(tmp_path: Path) -> None:
    """A folder beside the configuration has channels; they are tried like any other."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_text(MINE, encoding="utf-8")
    routes = "route: {receiver: a}\nreceivers: [{name: a, mine_configs: [{url: URL}]}]"
    settings = "alerts: {alertmanager_config: am.yml, channel_folders: [mine]}\n"
    (tmp_path / "gatewatch.yaml").write_text(settings, "utf-8")
    async with strict_server(rules) as server:
        (tmp_path / "am.yml").write_text(routes.replace("URL", server.url), encoding="utf-8")
        done = await asyncio.to_thread(gatewatch, "notify", "test", "a", directory=tmp_path)

    assert done.code == 0, done.err
    assert "a/mine/0: accepted" in done.out


async def test_private_addresses(tmp_path: Path) -> None:
    """Where the setting forbids it, a receiver on this machine is not reached."""
    done = await run(tmp_path, "ops", "--set", "alerts.private_addresses=false")

    assert done.code == 1
    assert "is not a public address" in done.out
