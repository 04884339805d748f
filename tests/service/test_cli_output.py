"""What the command prints on a terminal, which is more colourful than in a pipe."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import yaml

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(*arguments: str, directory: Path, colour: bool = True) -> str:
    """Run the command on a terminal and return what the terminal got."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=directory,
        env=environ if colour else {**environ, "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    read = b""
    try:
        while data := os.read(ours, 65536):
            read += data
    except OSError:
        pass  # Linux: the other side of the terminal was closed
    finally:
        os.close(ours)
        process.wait(timeout=30)
    return read.decode().replace("\r\n", "\n")


def test_problems_have_colour(tmp_path: Path):
    """A problem is the same line as in a pipe, with its place marked."""
    (tmp_path / "gatewatch.yaml").write_text("gateway: {prot: 1}\n", encoding="utf-8")

    text = on_a_terminal("config", "check", directory=tmp_path)

    line = "gatewatch.yaml:1:11: gateway.prot: unknown key; did you mean port?\n"
    assert ANSI.search(text)
    assert ANSI.sub("", text) == line


def test_no_color_is_respected(tmp_path: Path):
    """Who asks for no colour gets none."""
    (tmp_path / "gatewatch.yaml").write_text("gateway: {prot: 1}\n", encoding="utf-8")

    text = on_a_terminal("config", "check", directory=tmp_path, colour=False)

    assert "\x1b[3" not in text
    assert "gateway.prot: unknown key" in text


def test_shown_settings_are_still_yaml(tmp_path: Path):
    """Colour changes nothing about the settings that are shown."""
    text = on_a_terminal("config", "show", directory=tmp_path)

    assert ANSI.search(text)
    assert yaml.safe_load(ANSI.sub("", text))["gateway"]["port"] == 8000
