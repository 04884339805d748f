"""The data directory: one process at a time, and nobody else's business."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from service.data_directory import LOCK_FILE, DataDirectory
from service.errors import ConfigurationError

HOLDER = """\
import asyncio, sys
from pathlib import Path
from service.data_directory import DataDirectory

async def hold():
    async with DataDirectory(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def refusal(path: Path) -> str:
    """Return why a directory cannot be had."""
    with pytest.raises(ConfigurationError) as caught:
        async with DataDirectory(path):
            pass
    return str(caught.value)


async def test_it_is_created_for_its_user_alone(tmp_path: Path) -> None:
    """Neither the directory nor what is in it can be read by others."""
    async with DataDirectory(tmp_path / "deep" / "data") as directory:
        file = directory.private_file("some.db")

    assert mode(directory.path) == 0o700
    assert (mode(file), mode(directory.path / LOCK_FILE)) == (0o600, 0o600)


async def test_a_file_that_is_there_keeps_its_content(tmp_path: Path) -> None:
    """Only a file that is missing is created."""
    (tmp_path / "some.db").write_text("state")
    async with DataDirectory(tmp_path) as directory:
        assert directory.private_file("some.db").read_text() == "state"


async def test_a_second_holder_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    """The error names setting, directory and process; the first one goes on."""
    async with DataDirectory(tmp_path):
        first, second = await refusal(tmp_path), await refusal(tmp_path)

    assert first == second
    assert first == (
        f"service.data_dir: the data directory {tmp_path} is in use by process {os.getpid()}; "
        "stop that one, or let this one have a directory of its own"
    )


async def test_it_can_be_had_again_afterwards(tmp_path: Path) -> None:
    """The lock file of an earlier run, whatever is in it, holds nothing."""
    (tmp_path / LOCK_FILE).write_text("4711 and more\n")
    for _ in range(2):
        async with DataDirectory(tmp_path):
            assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


async def test_it_is_free_when_its_process_was_killed(tmp_path: Path) -> None:
    """The system gives the lock back, as nobody else can."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        held = await refusal(tmp_path)
    finally:
        process.kill()
        await process.communicate()
    async with DataDirectory(tmp_path):
        pass

    assert f"in use by process {process.pid};" in held


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The error says why, and what would be right."""
    (tmp_path / "file").write_text("")

    assert await refusal(tmp_path / "file" / "data") == (
        f"service.data_dir: the data directory {tmp_path}/file/data cannot be used: Not a "
        "directory; let it name a directory that the user of this process may write"
    )
