"""The section ``health``: one probe for each check, and conditions that fit it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.config.service_probe_settings import require_package
from service.config.show import as_yaml
from service.config.sources import load_settings
from service.errors import ConfigurationError


def problems_of(directory: Path, check: str) -> list[str]:
    """Return the problems of a check, written in YAML's flow style on line 3 from column 5."""
    (directory / "gatewatch.yaml").write_text(f"health:\n  checks:\n  - {check}\n", "utf-8")
    try:
        load_settings(None, environ={}, directory=directory)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("{name: a}", "3:5: health.checks[0]: nothing says what the check a looks at"),
        (
            "{name: a, tcp: {address: 'a:1'}, tls: {address: 'a:1'}}",
            "a check looks at one thing, and this one at tcp and tls",
        ),
        ("{name: a, tcp: {address: a}}", "3:30: health.checks[0].tcp.address: 'a' is no address"),
        (
            "{name: a, tcp: {address: 'a:1'}, conditions: ['[STATUS] == 200']}",
            "health.checks[0].conditions[0]: [STATUS] is nothing that a tcp check finds; it has "
            "[CONNECTED], [RESPONSE_TIME], [IP], [BODY]",
        ),
        (
            "{name: a, tcp: {address: 'a:1'}, conditions: ['[IP] == 1', '[CONECTED] == true']}",
            "3:64: health.checks[0].conditions[1]: at character 1: [CONECTED] is no placeholder; "
            "did you mean [CONNECTED]?",
        ),
        (
            "{name: a, push: {token: t}, conditions: ['[CONNECTED] == true']}",
            "a push check finds; it has no placeholders",
        ),
        (
            "{name: a, tls: {address: 'a:1', tls: {cert_file: x}}}",
            "cert_file and key_file are set together or not at all",
        ),
        (
            "{name: a, http: {url: 'http://x/', bearer_token: t, basic_auth: {username: u}}}",
            "basic_auth and bearer_token are both sent as the header Authorization",
        ),
        ("{name: a, dns: {query_name: x, server: 'a b'}}", "'a b' is no address"),
        (
            "{name: a, command: {argv: [df]}}",
            "3:24: health.checks[0].command: the check a runs a program, which has to be allowed",
        ),
        ("{name: a, redis: {url: 'http://x'}}", "is no URL of a Redis server"),
        ("{name: a, sql: {url: 'oracle://x'}}", "is no URL of a database; it begins with one of"),
        ("{name: a, websocket: {url: 'http://x'}}", "'http://x' is no URL of a WebSocket"),
        (
            "{name: a, grpc: {address: 'a:1', tls: {verify: false}}}",
            "gRPC always verifies certificates; trust the server's with tls.ca_file",
        ),
    ],
)
def test_a_check_that_cannot_be_run_says_what_would_be_right(tmp_path, check, problem):
    """Each problem has its place in the file, and conditions one in themselves."""
    (found,) = problems_of(tmp_path, check)

    assert problem in found


@pytest.mark.parametrize(
    "check",
    [
        "{name: a, tcp: {address: '[::1]:1'}}",
        "{name: a, dns: {query_name: x, server: '::1'}}",
        "{name: a, dns: {query_name: x, server: 'ns.example:5353'}}",
        "{name: a, http: {url: 'http://x/'}, conditions: ['[STATUS] < 300', '[BODY].a == 1']}",
    ],
)
def test_checks_that_can_be_run(tmp_path, check):
    """Addresses may be IPv6, ports may be left out where there is a usual one."""
    assert problems_of(tmp_path, check) == []


def test_a_package_that_is_missing_is_named_with_its_extra():
    """Kinds of checks that take one say how to install it."""
    with pytest.raises(ValueError, match=r"pip install 'gatewatch\[redis\]'"):
        require_package("gatewatch_nowhere", "redis", "a redis check")
    require_package("pytest", "redis", "a redis check")


def test_no_password_is_printed(tmp_path):
    """Those in URLs of databases are hidden like all others."""
    checks = "{name: a, sql: {url: 'postgresql://me:hush@host/x', password: hush}}"
    assert problems_of(tmp_path, checks) == []
    loaded = load_settings(Path("gatewatch.yaml"), environ={}, directory=tmp_path)

    assert "hush" not in as_yaml(loaded)


def test_files_are_relative_to_the_configuration(tmp_path):
    """Certificates stand beside the file that names them."""
    check = "{name: a, tls: {address: 'a:1', tls: {ca_file: ca.pem}}}"
    assert problems_of(tmp_path, check) == []
    loaded = load_settings(Path("gatewatch.yaml"), environ={}, directory=tmp_path)
    tls = loaded.settings.health.checks[0].tls

    assert tls is not None
    assert tls.tls.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("check", "path"),
    [
        ("{name: a, sql: {url: 'sqlite:///a.db'}}", ("sql", "url")),
        ("{name: a, command: {argv: [df], directory: a.db}}", ("command", "directory")),
    ],
)
def test_databases_and_directories_are_relative_to_the_configuration(tmp_path, check, path):
    """As all paths in the file."""
    text = f"health:\n  allow_commands: true\n  checks:\n  - {check}\n"
    (tmp_path / "gatewatch.yaml").write_text(text, "utf-8")
    loaded = load_settings(Path("gatewatch.yaml"), environ={}, directory=tmp_path)
    probe = getattr(loaded.settings.health.checks[0], path[0])

    assert str(getattr(probe, path[1])).removeprefix("sqlite:///") == str(tmp_path / "a.db")
