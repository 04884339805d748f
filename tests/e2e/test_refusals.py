"""What cannot be run is refused with an exit code and one precise line, before anything starts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import Ended, run_command, serving, write_settings

BAD_RULE = """\
groups:
  - name: web
    rules:
      - alert: WebDown
        expr: probe_success{check="web"} = 0
"""
BAD_ROUTE = """\
route: {receiver: nobody}
receivers: [{name: on-call}]
"""


async def refused(directory: Path, name: str, files: Mapping[str, str], *options: str) -> Ended:
    """Run ``serve`` with a configuration in a directory of its own."""
    where = directory / name
    await asyncio.to_thread(where.mkdir)
    for file, text in files.items():
        (where / file).write_text(text)
    if "gatewatch.yaml" not in files:
        write_settings(where, {})
    ended = await run_command("serve", "--config", "gatewatch.yaml", *options, directory=where)
    assert not (where / "data").exists()
    return ended


async def test_bad_files_are_refused_with_their_place(tmp_path: Path) -> None:
    """Exit code 2 and one line that says file, line, column and what would be right."""
    rules = ("--set", "alerts.rule_files=[rules.yaml]")
    routes = ("--set", "alerts.alertmanager_config=routes.yaml")
    outcomes = await asyncio.gather(
        refused(tmp_path, "key", {"gatewatch.yaml": "gateway:\n  prot: 9000\n"}),
        refused(tmp_path, "yaml", {"gatewatch.yaml": "gateway: {port: 0\n"}),
        refused(tmp_path, "rule", {"rules.yaml": BAD_RULE}, *rules),
        refused(tmp_path, "route", {"routes.yaml": BAD_ROUTE}, *routes),
        refused(tmp_path, "option", {}, "--set", "gateway.port=many"),
    )

    key, yaml, rule, route, option = (ended.err for ended in outcomes)
    assert {(ended.code, ended.out, ended.err.count("\n")) for ended in outcomes} == {(2, "", 1)}
    assert key.startswith("gatewatch.yaml:2:3: ")
    assert "did you mean" in key
    assert "port" in key
    assert yaml.startswith("gatewatch.yaml:")
    assert "rules.yaml:5:42: expr: " in rule  # the operator that PromQL has not
    assert "routes.yaml:1:" in route
    assert "nobody" in route
    assert option.startswith("--set gateway.port: ")


async def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    """Exit code 1, and the line names the address and the setting; for both listeners."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name in ("gateway", "operations"):
            (tmp_path / name).mkdir()
            write_settings(tmp_path / name, {"telemetry": {"log_level": "warning"}})
        gateway, operations = await asyncio.gather(
            *(
                run_command(
                    *("serve", "--config", "gatewatch.yaml", option, str(port)),
                    directory=tmp_path / name,
                )
                for name, option in (("gateway", "--port"), ("operations", "--ops-port"))
            )
        )

    end = f"cannot listen on 127.0.0.1:{port}: the port is in use; stop the other process or set"
    assert (gateway.code, gateway.out, gateway.err) == (
        1,
        "",
        f"gatewatch: the gateway {end} gateway.port\n",
    )
    assert (operations.code, operations.err) == (
        1,
        f"gatewatch: the operations listener {end} operations.port\n",
    )
    for name in ("gateway", "operations"):
        assert not (tmp_path / name / "data").exists()


async def test_a_data_directory_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    """Exit code 2, with the process that has it; once that one was killed, it is free."""
    async with serving(tmp_path) as process:
        refused_at = await run_command("serve", "-c", "gatewatch.yaml", directory=tmp_path)
        pid = process.pid
        await process.kill()
    async with serving(tmp_path):
        pass

    assert (refused_at.code, refused_at.out) == (2, "")
    assert f"the data directory {tmp_path}/data is in use by process {pid};" in refused_at.err
    assert refused_at.err.count("\n") == 1
