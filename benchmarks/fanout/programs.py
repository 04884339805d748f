"""The compiled programs of the benchmark: found or built, or it is said why they are not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
CENTRIFUGO: Final = "github.com/centrifugal/centrifugo/v6"
CENTRIFUGO_VERSION: Final = "6.9.1"
BUILD_TIMEOUT_S: Final = 900.0


def compile_reader(folder: Path) -> Path | None:
    """Return the compiled reader; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = folder / "reader"
    command = (compiler, "-O2", "-o", str(program), str(HERE / "reader.c"))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the reader is not compiled: {done.stderr}")
    return program


def centrifugo(given: Path | None) -> Path | str:
    """Return Centrifugo: the given one, or what Go builds once; or why there is none."""
    if given is not None:
        return given if given.exists() else f"there is no {given}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatewatch-bench"
    program = base / f"centrifugo-{CENTRIFUGO_VERSION}"
    if program.exists():
        return program
    if shutil.which("go") is None:
        return "there is no Go toolchain to build it with; --centrifugo names one that is built"
    print(f"Centrifugo {CENTRIFUGO_VERSION} is built, once, which takes minutes", flush=True)
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix="partial-") as folder:
        return _build(Path(folder), program)


def _build(folder: Path, program: Path) -> Path | str:
    # No other toolchain is downloaded, and nothing but from the module proxy.
    environ = {**os.environ, "GOTOOLCHAIN": "local", "GOVCS": "*:off", "GOFLAGS": "-mod=mod"}
    for command in (
        ("go", "mod", "init", "build"),
        ("go", "get", f"{CENTRIFUGO}@v{CENTRIFUGO_VERSION}"),
        ("go", "build", "-o", "built", CENTRIFUGO),
    ):
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environ,
                check=False,
                capture_output=True,
                text=True,
                timeout=BUILD_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` took over {BUILD_TIMEOUT_S:.0f} s"
        if done.returncode:
            ending = " ".join(done.stderr.strip().splitlines()[-2:])
            return f"`{' '.join(command)}` ended with {done.returncode}: {ending}"
    (folder / "built").rename(program)
    return program
