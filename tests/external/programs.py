"""What the tests in this folder need from outside: found, or installed, or said to be missing.

Everything lands in a cache folder outside the repository, complete or not at all, so that the next
run finds it. Debian packages are unpacked there rather than installed: that takes no root, starts
no service and changes nothing else. Only node and npm are installed into the system, by root.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
JAVASCRIPT: Final = HERE / "javascript"
BUILDER: Final = HERE / "collector" / "builder.yaml"
BUILDER_MODULE: Final = "go.opentelemetry.io/collector/cmd/builder@v0.155.0"

_APT_OPTIONS: Final = ("-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
_APT_TIMEOUT_S: Final = 120.0
_NPM_TIMEOUT_S: Final = 120.0
_GO_TIMEOUT_S: Final = 390.0


class UnavailableError(Exception):
    """A program cannot be had here; the message says why."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that outlives a run."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gatewatch-e2e"


async def prometheus(cache: Path) -> Path:
    """Return the folder with the programs ``prometheus`` and ``promtool``."""
    if (found := shutil.which("promtool")) and shutil.which("prometheus"):
        return Path(found).parent
    target = cache / "prometheus"
    if not target.exists():
        _require("apt-get", "dpkg-deb")
        async with _made_whole(target) as folder:
            download = ("apt-get", *_APT_OPTIONS, "download", "prometheus")
            try:
                await _run(*download, folder=folder, timeout_s=_APT_TIMEOUT_S)
            except UnavailableError:
                await _update_package_lists()
                await _run(*download, folder=folder, timeout_s=_APT_TIMEOUT_S)
            (package,) = folder.glob("*.deb")
            await _run("dpkg-deb", "-x", package.name, ".", folder=folder, timeout_s=60)
            package.unlink()
    return target / "usr" / "bin"


async def javascript(cache: Path) -> Path:
    """Return the folder of node modules that hold the JavaScript SDK; node itself is on PATH."""
    for command, package in (("node", "nodejs"), ("npm", "npm")):
        if shutil.which(command) is None:
            await _install_debian_package(package)
    target = cache / f"npm-{_digest(JAVASCRIPT / 'package-lock.json')}"
    if not target.exists():
        async with _made_whole(target) as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(JAVASCRIPT / name, folder)
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
            await _run("npm", "ci", *options, folder=folder, timeout_s=_NPM_TIMEOUT_S)
    return target / "node_modules"


async def collector(cache: Path) -> Path:
    """Return the OpenTelemetry collector; building it the first time takes minutes."""
    target = cache / f"collector-{_digest(BUILDER)}"
    if not target.exists():
        _require("go")
        async with _made_whole(target) as folder, _scratch(cache) as scratch:
            shutil.copy(BUILDER, scratch)
            command = ("go", "run", BUILDER_MODULE, "--config", BUILDER.name)
            await _run(*command, folder=scratch, timeout_s=_GO_TIMEOUT_S, environ=_go_environ())
            shutil.move(scratch / "built" / "otelcol", folder)
    return target / "otelcol"


PROGRAMS: Final[Mapping[str, Callable[[Path], Awaitable[Path]]]] = {
    "prometheus": prometheus,
    "javascript": javascript,
    "collector": collector,
}
"""How each program is had, by the name that tests ask for it by."""


def _go_environ() -> dict[str, str]:
    """Return what keeps Go to the module proxy and to the toolchain that is here."""
    return {
        "GOPROXY": os.environ.get("GOPROXY", "https://proxy.golang.org"),
        "GOTOOLCHAIN": "local",
    }


async def _install_debian_package(package: str) -> None:
    _require("apt-get")
    if os.geteuid() != 0:
        raise UnavailableError(f"{package} is not installed, and only root can install it")
    await _update_package_lists()
    await _run(
        "apt-get",
        *_APT_OPTIONS,
        *("install", "--yes", "--no-install-recommends", package),
        timeout_s=_APT_TIMEOUT_S,
        environ={"DEBIAN_FRONTEND": "noninteractive"},
    )


async def _update_package_lists() -> None:
    if os.geteuid() != 0:
        raise UnavailableError("the package is in no list of apt, and only root can update those")
    await _run("apt-get", *_APT_OPTIONS, "update", timeout_s=_APT_TIMEOUT_S)


def _require(*commands: str) -> None:
    for command in commands:
        if shutil.which(command) is None:
            raise UnavailableError(f"{command} is not installed")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@asynccontextmanager
async def _scratch(cache: Path) -> AsyncIterator[Path]:
    """Give a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=cache, prefix="partial-") as folder:
        yield Path(folder)


@asynccontextmanager
async def _made_whole(target: Path) -> AsyncIterator[Path]:
    """Give a folder that becomes ``target`` if the block succeeds, and is gone if it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    async with _scratch(target.parent) as scratch:
        folder = scratch / "whole"
        folder.mkdir()
        yield folder
        # Another run may have been quicker; what it made is the same.
        with suppress(FileExistsError):
            folder.rename(target)


async def _run(
    *command: str, timeout_s: float, folder: Path = HERE, environ: Mapping[str, str] | None = None
) -> None:
    """Run a step of an installation to its end.

    Raises:
        UnavailableError: It failed, or took too long; says how its output ended.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        raise UnavailableError(f"`{' '.join(command)}` took over {timeout_s:.0f} s") from None
    finally:
        # The whole group, because package managers and Go leave the work to their children.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode:
        end = " / ".join(output.decode(errors="replace").strip().splitlines()[-3:])
        raise UnavailableError(f"`{' '.join(command)}` ended with {process.returncode}: {end}")
