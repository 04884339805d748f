"""``make e2e``: get the programs, run the tests, say what was not run and why.

The exit code is pytest's: a program that cannot be had is listed, one that fails is a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.external.child import end
from tests.external.programs import HERE, PROGRAMS, UnavailableError, cache_folder
from tests.support.process import INSTALLED

INSTALL_TIMEOUT_S: Final = 660.0
TESTS_TIMEOUT_S: Final = 360.0


async def main(arguments: Sequence[str]) -> int:
    """Run everything within about a quarter of an hour and return the exit code."""
    found, missing = await install_all(cache_folder(os.environ))
    code = await run_tests(arguments, found)
    say("not run:" if missing else "every program was there")
    for name, reason in missing.items():
        say(f"  {name}: " + "\n        ".join(reason.splitlines()))
    return code


async def install_all(cache: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return where each program is, and why the others cannot be had.

    One after the other, because apt lets nobody else in while it works.
    """
    loop = asyncio.get_running_loop()
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    say(f"looking for {', '.join(PROGRAMS)}; what is missing goes to {cache}")
    deadline_s = loop.time() + INSTALL_TIMEOUT_S
    for name, install in PROGRAMS.items():
        began_s = loop.time()
        try:
            async with asyncio.timeout_at(deadline_s):
                found[name] = str(await install(cache))
        except TimeoutError:
            missing[name] = f"not installed within {INSTALL_TIMEOUT_S:.0f} s; run it again"
        except (UnavailableError, OSError) as error:
            missing[name] = str(error)
        say(f"{name}: {found.get(name, 'cannot be had')} ({loop.time() - began_s:.1f} s)")
    return found, missing


async def run_tests(arguments: Sequence[str], found: dict[str, str]) -> int:
    """Run pytest on this folder and return its exit code; it does not outlive its time."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", str(HERE), *arguments),
        env={**os.environ, INSTALLED: "1", "GATEWATCH_E2E_PROGRAMS": json.dumps(found)},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TESTS_TIMEOUT_S):
            return await process.wait()
    except TimeoutError:
        say(f"the tests took over {TESTS_TIMEOUT_S:.0f} s")
        return 1
    finally:
        # As Ctrl-C does first, so that the tests end the processes they started.
        with suppress(ProcessLookupError, TimeoutError):
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(10):
                await process.wait()
        await end(process)


def say(line: str) -> None:
    """Print a line at once, in order with what pytest prints."""
    sys.stdout.write(f"e2e: {line}\n")
    sys.stdout.flush()


sys.exit(asyncio.run(main(sys.argv[1:])))
