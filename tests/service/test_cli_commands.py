"""The command `gatewatch` as a whole, `token`, `rules`, and errors before anything runs."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from service.cli import main
from tests.support.command import gatewatch
from tests.support.tokens import private_key, private_pem, public_pem

SECRET = "0123456789abcdef0123456789abcdef"
COMMANDS = (
    ["serve"],
    ["demo"],
    ["health"],
    ["query"],
    ["token"],
    ["config"],
    ["config", "check"],
    ["config", "schema"],
    ["config", "show"],
    ["rules"],
    ["rules", "check"],
    ["rules", "test"],
    ["routes"],
    ["routes", "test"],
    ["routes", "show"],
)


def test_the_installed_command_says_its_version():
    """The command that installing puts beside the interpreter works."""
    command = shutil.which("gatewatch", path=str(Path(sys.executable).parent))
    assert command is not None

    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"gatewatch {version('gatewatch')}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]):
    """Each command explains itself in lines that fit a terminal."""
    code = main([*command, "--help"])

    text = capsys.readouterr().out
    assert code == 0
    assert text.startswith(f"Usage: gatewatch {' '.join(command)}")
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_overview_lists_what_there_is(capsys: pytest.CaptureFixture[str]):
    """Without a command the commands are listed, and that is a usage error."""
    code = main([])

    listed = capsys.readouterr().err
    assert code == 2
    assert all(f"\n  {command[0]} " in listed for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serv"], "No such command 'serv'"),
        (["serve", "--prot", "1"], "No such option: --prot"),
        (["token"], "Missing option '--user'"),
        (["token", "--user", ""], "it is empty"),
        (["token", "--user", "a", "--ttl", "5"], "'5' is not a duration"),
        (["token", "--user", "a", "--ttl", "10ms"], "too short"),
        (["token", "--user", "a", "--channel", ""], "a channel is 1 to 255 ASCII characters"),
        (["rules", "check"], "Missing argument"),
        (["rules", "test"], "Missing argument"),
    ],
)
def test_usage_errors(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    """A command line that cannot be used says why on stderr and exits with 2."""
    code = main(arguments)

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert said in printed.err


@pytest.mark.parametrize("command", ["serve", "health", "token --user a"])
def test_configuration_errors(command: str, tmp_path: Path):
    """Commands that need settings print the problems, a line for each, and exit with 2."""
    (tmp_path / "gatewatch.yaml").write_text("gateway: {port: x, prot: 1}\n", encoding="utf-8")

    done = gatewatch(*command.split(), directory=tmp_path)

    assert (done.code, done.out) == (2, "")
    assert [line.split(": ")[1] for line in done.err.splitlines()] == [
        "gateway.port",
        "gateway.prot",
    ]


def test_the_ports_of_serve_are_settings(tmp_path: Path):
    """--port and --ops-port are checked as the settings they stand for."""
    done = gatewatch("serve", "--port", "70000", "--ops-port", "-1", directory=tmp_path)

    assert done.code == 2
    assert done.err.splitlines() == [
        "--ops-port: got -1, expected a whole number from 0 to 65535",
        "--port: got 70000, expected a whole number from 0 to 65535",
    ]
    text = gatewatch("serve", "--port", "x", directory=tmp_path)
    assert (text.code, text.err) == (
        2,
        "--port: got 'x', expected a whole number from 0 to 65535\n",
    )


def test_an_expression_that_looks_like_an_option(capsys: pytest.CaptureFixture[str]):
    """The usage error says how to give it; a mistyped option gets no such hint."""
    negated = main(["query", "-up"]), capsys.readouterr().err
    mistyped = main(["query", "--tiem", "1", "up"]), capsys.readouterr().err

    assert (negated[0], mistyped[0]) == (2, 2)
    assert "begins with - stands after --: gatewatch query -- -up\n" in negated[1]
    assert "stands after --" not in mistyped[1]


def test_a_token_speaks_for_a_user(tmp_path: Path):
    """The token is signed with the configured secret and carries the required claims."""
    done = gatewatch(
        *("token", "--user", "ann", "--ttl", "90s"),
        *("--set", "gateway.token.audience=us", "--set", "gateway.token.issuer=me"),
        directory=tmp_path,
        environ={"GATEWATCH_GATEWAY__TOKEN__HMAC_SECRET": SECRET},
    )

    claims = jwt.decode(done.out.strip(), SECRET, ["HS256"], audience="us", issuer="me")
    assert (done.code, done.err) == (0, "")
    assert claims["sub"] == "ann"
    assert claims["exp"] - claims["iat"] == 90


def test_a_token_lets_a_user_into_a_channel(tmp_path: Path):
    """Signed as subscription tokens are, where they have settings of their own."""
    other = SECRET[::-1]
    command = ("token", "--user", "ann", "--channel", "$news", "--info", '{"role": "editor"}')

    shared = gatewatch(*command, "--set", f"gateway.token.hmac_secret={SECRET}", directory=tmp_path)
    own = gatewatch(
        *(*command, "--set", f"gateway.token.hmac_secret={SECRET}"),
        *("--set", f"gateway.subscription_token.hmac_secret={other}"),
        directory=tmp_path,
    )

    assert (shared.err, own.err) == ("", "")
    for done, secret in ((shared, SECRET), (own, other)):
        claims = jwt.decode(done.out.strip(), secret, ["HS256"])
        assert (claims["sub"], claims["channel"]) == ("ann", "$news")
        assert claims["info"] == {"role": "editor"}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES512", "EdDSA"])
def test_a_token_can_be_signed_with_a_private_key(tmp_path: Path, algorithm: str):
    """The kind of the key says how; its name can be told."""
    key = private_key(algorithm)
    (tmp_path / "key.pem").write_bytes(private_pem(key))

    done = gatewatch(
        *("token", "--user", "ann", "--private-key", "key.pem", "--key-id", "one"),
        directory=tmp_path,
    )

    token = done.out.strip()
    assert (done.code, done.err) == (0, "")
    assert jwt.decode(token, public_pem(key), [algorithm])["sub"] == "ann"
    assert jwt.get_unverified_header(token)["kid"] == "one"


@pytest.mark.parametrize(
    ("pem", "complaint"),
    [
        (b"secret", "it is not a private key in PEM"),
        (public_pem(private_key("ES256")).encode(), "it is not a private key in PEM"),
        (
            private_key("ES256").private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            ),
            "it is encrypted",
        ),
        (private_pem(rsa.generate_private_key(65537, 1024)), "it has 1024 bits"),
    ],
)
def test_a_private_key_that_cannot_sign_is_told(tmp_path: Path, pem: bytes, complaint: str):
    """With the file, and what would be right."""
    (tmp_path / "key.pem").write_bytes(pem)

    done = gatewatch("token", "--user", "ann", "--private-key", "key.pem", directory=tmp_path)

    assert (done.code, done.out) == (2, "")
    assert f"key.pem: {complaint}" in done.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--info", "{"), "not JSON"),
        (("--key-id", "one"), "give --private-key"),
        (("--private-key", "nowhere.pem"), "does not exist"),
    ],
)
def test_a_token_is_not_made_of_anything(tmp_path: Path, arguments: tuple[str, str], complaint):
    """Usage errors say which option is meant."""
    done = gatewatch("token", "--user", "ann", *arguments, directory=tmp_path)

    assert done.code == 2
    assert complaint in done.err
    assert arguments[0] in done.err


def test_a_token_needs_a_secret(tmp_path: Path):
    """Without a secret the command says which key to set."""
    done = gatewatch("token", "--user", "ann", directory=tmp_path)

    assert (done.code, done.out) == (2, "")
    assert "gateway.token.hmac_secret: not set, so no token can be signed" in done.err


def test_a_short_secret_is_remarked_on(tmp_path: Path):
    """A secret that is too short still signs, with a remark that does not repeat it."""
    setting = "gateway.token.hmac_secret=hush"

    done = gatewatch("token", "--user", "ann", "--set", setting, "--json", directory=tmp_path)

    assert jwt.get_unverified_header(json.loads(done.out)["token"])["alg"] == "HS256"
    assert done.err == "gateway.token.hmac_secret: too short to be safe; take 32 bytes or more\n"


def test_no_reader_is_no_traceback(tmp_path: Path):
    """A pipe that is closed early ends the command in silence."""
    command = f"{sys.executable} -m service.cli config schema | head -c 1"

    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("{", "")
