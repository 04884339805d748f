"""What the tests in this folder need from outside: found, or installed, or said to be missing.

Everything lands in a cache folder outside the repository, complete or not at all, so that the next
run finds it. Debian packages are unpacked there rather than installed: that takes no root, starts
no service and changes nothing else. Only node and npm are installed into the system, by root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.external.child import run

HERE: Final = Path(__file__).parent
JAVASCRIPT: Final = HERE / "javascript"
BUILDER: Final = HERE / "collector" / "builder.yaml"
JAEGER: Final = HERE / "jaeger" / "jaeger.yaml"
JAEGER_PACKAGE: Final = "github.com/jaegertracing/jaeger/cmd/jaeger"
JAEGER_VERSION: Final = "v1.76.0"
BUILDER_MODULE: Final = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"

_APT: Final = (
    *("apt-get", "-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"),
    *("-o", "APT::Sandbox::User=root"),  # the cache is no folder of the user _apt
)
_NPM_CI: Final = (
    *("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
    *("--fetch-retries=1", "--fetch-timeout=20000"),
)
_GO_ENVIRON: Final = {
    "GOTOOLCHAIN": "local",  # no other toolchain is downloaded
    "GOVCS": "*:off",  # the module proxy, or nothing
}
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
    return (await _unpack_debian_packages(cache, "prometheus", "prometheus")) / "usr" / "bin"


async def alertmanager(cache: Path) -> Path:
    """Return the folder with the programs ``prometheus-alertmanager`` and ``amtool``."""
    if (found := shutil.which("amtool")) and shutil.which("prometheus-alertmanager"):
        return Path(found).parent
    package = "prometheus-alertmanager"
    return (await _unpack_debian_packages(cache, "alertmanager", package)) / "usr" / "bin"


async def mariadb(cache: Path) -> Path:
    """Return the folder where MariaDB's server and the libraries it needs were unpacked."""
    packages = ("mariadb-server-core", "libaio1", "liburing2")
    return await _unpack_debian_packages(cache, "mariadb", *packages)


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
            await _run(*_NPM_CI, folder=folder, timeout_s=_NPM_TIMEOUT_S)
    return target / "node_modules"


async def collector(cache: Path) -> Path:
    """Return the OpenTelemetry collector; building it the first time takes minutes."""
    target = cache / f"collector-{_digest(BUILDER)}"
    if not target.exists():
        _require("go")
        async with _made_whole(target) as folder, _scratch(cache) as scratch:
            shutil.copy(BUILDER, scratch)
            command = ("go", "run", BUILDER_MODULE, "--config", BUILDER.name)
            await _run(*command, folder=scratch, timeout_s=_GO_TIMEOUT_S, environ=_GO_ENVIRON)
            shutil.move(scratch / "built" / "otelcol", folder)
    return target / "otelcol"


async def jaeger(cache: Path) -> Path:
    """Return Jaeger, without its pages; building it the first time takes minutes.

    Its tags of version 2 are no versions of a Go module; those of version 1 hold the same program.
    """
    target = cache / f"jaeger-{JAEGER_VERSION}"
    if not target.exists():
        _require("go")
        async with _made_whole(target) as folder, _scratch(cache) as scratch:
            (scratch / "go.mod").write_text("module gatewatch.test/jaeger\n\ngo 1.25\n")
            get = ("go", "get", "-tool", f"{JAEGER_PACKAGE}@{JAEGER_VERSION}")
            await _run(*get, folder=scratch, timeout_s=_GO_TIMEOUT_S, environ=_GO_ENVIRON)
            build = ("go", "build", "-trimpath", "-ldflags=-s -w", "-o", "jaeger", JAEGER_PACKAGE)
            await _run(*build, folder=scratch, timeout_s=_GO_TIMEOUT_S, environ=_GO_ENVIRON)
            shutil.move(scratch / "jaeger", folder)
    return target / "jaeger"


PROGRAMS: Final[Mapping[str, Callable[[Path], Awaitable[Path]]]] = {
    "prometheus": prometheus,
    "alertmanager": alertmanager,
    "mariadb": mariadb,
    "javascript": javascript,
    "collector": collector,
    "jaeger": jaeger,
}
"""How each program is had, by the name that tests ask for it by; the slowest comes last."""


async def _unpack_debian_packages(cache: Path, name: str, *packages: str) -> Path:
    """Return the folder of packages, unpacked to where the cache has ``name``."""
    target = cache / name
    if not target.exists():
        _require("apt-get", "dpkg-deb")
        async with _made_whole(target) as folder:
            download = (*_APT, "download", *packages)
            try:
                await _run(*download, folder=folder, timeout_s=_APT_TIMEOUT_S)
            except UnavailableError:
                # A fresh machine has no lists of packages, an old one has outdated ones.
                if os.geteuid() != 0:
                    raise
                await _run(*_APT, "update", timeout_s=_APT_TIMEOUT_S)
                await _run(*download, folder=folder, timeout_s=_APT_TIMEOUT_S)
            for archive in tuple(folder.glob("*.deb")):
                await _run("dpkg-deb", "-x", archive.name, ".", folder=folder, timeout_s=60)
                archive.unlink()
    return target


async def _install_debian_package(package: str) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise UnavailableError(
            f"{package} is not installed; root can have it installed where there is apt"
        )
    install = (*_APT, "install", "--yes", "--no-install-recommends", package)
    await _run(*_APT, "update", timeout_s=_APT_TIMEOUT_S)
    environ = {"DEBIAN_FRONTEND": "noninteractive"}
    await _run(*install, timeout_s=_APT_TIMEOUT_S, environ=environ)


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
    step = f"`{' '.join(command)}`"
    try:
        code, output = await run(*command, folder=folder, environ=environ, timeout_s=timeout_s)
    except TimeoutError:
        raise UnavailableError(f"{step} took over {timeout_s:.0f} s; run it again") from None
    if code:
        ending = "\n".join(output.strip().splitlines()[-8:])
        raise UnavailableError(f"{step} ended with {code}:\n{ending}")
