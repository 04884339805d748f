"""The section ``health``: one probe for each check, and conditions that fit it."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_files_are_relative_to_the_configuration(tmp_path):
    """Certificates stand beside the file that names them."""
    check = "{name: a, tls: {address: 'a:1', tls: {ca_file: ca.pem}}}"
    assert problems_of(tmp_path, check) == []
    loaded = load_settings(Path("gatewatch.yaml"), environ={}, directory=tmp_path)
    tls = loaded.settings.health.checks[0].tls

    assert tls is not None
    assert tls.tls.ca_file == tmp_path / "ca.pem"
