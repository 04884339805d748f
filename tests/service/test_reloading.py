"""Reading the configuration again: by request, by signal, with good files and bad ones."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from service.config.settings import Settings
from service.reloading import differing
from tests.support.process import GatewatchProcess, eventually, serving, write_settings

RULES = """\
groups:
  - name: kept
    interval: 1s
    rules:
      - {record: kept, expr: vector(1)}
  - name: %s
    interval: 1s
    rules:
      - {record: other, expr: %s}
"""
SETTINGS: dict[str, Any] = {"alerts": {"rule_files": ["rules.yaml"], "default_rules": False}}


async def reload(process: GatewatchProcess) -> tuple[int, str]:
    """Ask for a reload and return status and text."""
    async with process.http.post(f"{process.operations_url}/-/reload") as answer:
        return answer.status, await answer.text()


async def jobs(process: GatewatchProcess) -> dict[str, int]:
    """Return the jobs of rule groups with how often each ran."""
    async with process.http.get(f"{process.operations_url}/jobs") as answer:
        found = (await answer.json())["jobs"]
    return {job["id"]: job["runs"] for job in found if job["kind"] == "rules"}


def write_rules(directory: Path, name: str = "other", expression: str = "vector(2)") -> None:
    """Write the rule file."""
    (directory / "rules.yaml").write_text(RULES % (name, expression), encoding="utf-8")


async def test_request(tmp_path: Path) -> None:
    """New groups get jobs, gone ones lose theirs, those that are the same keep running."""
    write_rules(tmp_path)
    async with serving(tmp_path, SETTINGS) as process:

        async def has_run() -> bool:
            return (await jobs(process))["rules kept"] > 0

        await eventually(has_run, what="a run of the group")
        write_rules(tmp_path, name="new")
        status, text = await reload(process)
        after = await jobs(process)

    assert status == 200
    assert "1 unchanged, 0 changed, 1 added, 1 removed" in text
    assert after.keys() == {"rules kept", "rules new"}
    assert after["rules kept"] > 0


async def test_bad_files(tmp_path: Path) -> None:
    """Anything wrong is answered with its place and counted; nothing changes until it is mended."""
    write_rules(tmp_path)
    async with serving(tmp_path, SETTINGS) as process:
        before = await jobs(process)
        write_rules(tmp_path, name="new", expression="sum(")
        status, text = await reload(process)
        assert status == 500
        assert re.search(rf"{tmp_path / 'rules.yaml'}:9:\d+: ", text)
        assert (await jobs(process)).keys() == before.keys()

        async def is_counted() -> bool:
            metrics = await process.operations("/metrics")  # at most a second old
            failures = 'gateway_config_reloads_total{error_type="ConfigurationError"'
            return "\ngateway_config_reload_success 0" in metrics and failures in metrics

        await eventually(is_counted, what="the failure in the metrics")

        write_settings(tmp_path, {**SETTINGS, "gateway": {"prot": 1}})
        status, text = await reload(process)
        assert (status, "gateway.prot" in text) == (500, True)

        write_rules(tmp_path, name="new")
        write_settings(tmp_path, SETTINGS)
        assert (await reload(process))[0] == 200
        assert "rules new" in await jobs(process)


async def test_signal(tmp_path: Path) -> None:
    """SIGHUP reads settings and rules again; what must wait for a restart is named."""
    write_rules(tmp_path)
    async with serving(tmp_path, SETTINGS) as process:
        (tmp_path / "more.yaml").write_text(yaml.safe_dump({"groups": []}))
        changed = {**SETTINGS, "batching": {"max_messages": 7}}
        changed["alerts"] = {**SETTINGS["alerts"], "rule_files": ["more.yaml"]}
        write_settings(tmp_path, changed)
        process._process.send_signal(signal.SIGHUP)

        async def is_done() -> bool:
            return not await jobs(process)

        await eventually(is_done, what="the end of the groups")
        ended = await process.end(signal.SIGTERM)

    assert ended.code == 0
    assert "in effect only after a restart: batching.max_messages" in ended.err


async def test_only_to_be_posted(tmp_path: Path) -> None:
    """A reload is never done by a GET, nor for a page of another site."""
    write_rules(tmp_path)
    async with serving(tmp_path, SETTINGS) as process, aiohttp.ClientSession() as http:
        url = f"{process.operations_url}/-/reload"
        async with http.get(url) as answer:
            assert answer.status == 405
        async with http.post(url, headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403


async def test_reloads_one_after_the_other(tmp_path: Path) -> None:
    """Many reloads at once all succeed."""
    write_rules(tmp_path)
    async with serving(tmp_path, SETTINGS) as process:
        answers = await asyncio.gather(*(reload(process) for _ in range(10)))

    assert {status for status, _ in answers} == {200}


def test_what_differs() -> None:
    """Settings are named as people write them."""
    before = Settings.model_validate({})
    after = Settings.model_validate({"gateway": {"port": 1}, "alerts": {"retention": "2h"}})

    assert differing(before, after) == ["gateway.port", "alerts.retention"]


async def test_keys(tmp_path: Path) -> None:
    """Keys of tokens and of the server API are taken over; a bad one is refused with its place."""
    write_rules(tmp_path)

    def with_keys(**keys: Any) -> dict[str, Any]:
        return {**SETTINGS, "gateway": keys}

    async with serving(tmp_path, with_keys(token={"hmac_secret": "a" * 32})) as process:
        write_settings(tmp_path, with_keys(token={"rsa_public_key": "x"}, api_key="new"))
        status, text = await reload(process)
        assert (status, "gateway.token.rsa_public_key" in text) == (500, True)
        assert (await process.post("info", {}))[0] == 200

        changed = with_keys(token={"hmac_secret": "b" * 32}, api_key="new", port=0)
        write_settings(tmp_path, changed)
        status, text = await reload(process)
        assert status == 200
        assert "other keys: gateway.api_key, gateway.token" in text
        assert "restart" not in text
        assert "b" * 32 not in text
        assert (await process.post("info", {}))[0] == 401
        headers = {"X-API-Key": "new"}
        assert (await process.post("info", {}, **headers))[0] == 200

        assert "other keys" not in (await reload(process))[1]


async def test_checks(tmp_path: Path) -> None:
    """New checks run, gone ones are gone, bad ones change nothing; the others are left alone."""

    def checks(*names: str) -> dict[str, Any]:
        url = "http://127.0.0.1:9/"
        return {
            **SETTINGS,
            "health": {"checks": [{"name": n, "http": {"url": url}} for n in names]},
        }

    async def there_are(process: GatewatchProcess) -> set[str]:
        found = json.loads(await process.operations("/health/checks"))["checks"]
        return {check["name"] for check in found if check["target"].startswith("GET")}

    write_rules(tmp_path)
    async with serving(tmp_path, checks("kept", "old")) as process:
        write_settings(tmp_path, checks("kept", "new"))
        status, text = await reload(process)
        assert (status, "checks: 1 unchanged, 0 changed, 1 added, 1 removed" in text) == (200, True)
        assert await there_are(process) == {"kept", "new"}

        write_settings(tmp_path, checks("kept", "http-pool"))
        status, text = await reload(process)
        assert (status, "http-pool is a built-in check; rename yours" in text) == (500, True)
        assert await there_are(process) == {"kept", "new"}
