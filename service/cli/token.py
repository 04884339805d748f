"""``gatewatch token``: a connection or subscription token for trying things out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alerts.durations import parse_duration
from alerts.errors import DurationError, Problem
from service.cli import options
from service.cli.output import write_error, write_json, write_line
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.config.token_settings import TokenSettings
    from service.gateway.token_issuing import SigningKey


def _ttl(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except DurationError as error:
        raise typer.BadParameter(str(error)) from error
    if seconds < 1:
        raise typer.BadParameter(f"{text!r} is too short; a token lives for 1s or longer")
    return seconds


def _user(text: str) -> str:
    if not text:
        raise typer.BadParameter("it is empty; clients without a user need no token")
    return text


def _channel(text: str | None) -> str | None:
    if text is not None and not (text and text.isascii() and len(text) <= 255):
        raise typer.BadParameter("a channel is 1 to 255 ASCII characters")
    return text


def _info(text: str) -> Any:
    from service.codec import JSONError, decode

    try:
        return decode(text)
    except JSONError as error:
        raise typer.BadParameter(f'not JSON, such as \'{{"name": "Ann"}}\': {error}') from error


def token(  # noqa: PLR0913, PLR0917 - the options of the command
    user: Annotated[
        str,
        typer.Option(metavar="ID", help="Whom the token speaks for.", callback=_user),
    ],
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Make a subscription token, for this channel.",
            callback=_channel,
        ),
    ] = None,
    ttl: Annotated[
        float,
        typer.Option(metavar="DURATION", help="How long it is good.", parser=_ttl),
    ] = "1h",  # type: ignore[assignment]  # the parser makes seconds of it
    info: Annotated[
        Any,
        typer.Option(metavar="JSON", help="What others may know of the client.", parser=_info),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sign with this RSA, ECDSA or Ed25519 key (PEM) in place of hmac_secret.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    key_id: Annotated[
        str | None,
        typer.Option(metavar="KID", help="Name of that key in the key set of jwks_url."),
    ] = None,
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Print a connection token, or with --channel a subscription token, to try things out.

    It is a JWT, signed with gateway.token.hmac_secret (HS256) or with the key of --private-key.
    """
    from jwt.warnings import InsecureKeyLengthWarning

    from alerts.clock import SystemClock
    from service.gateway.token_issuing import TokenIssuer

    if key_id is not None and private_key is None:
        raise typer.BadParameter(
            "it names a private key: give --private-key", param_hint="--key-id"
        )
    loaded = options.load(config, settings)
    gateway = loaded.settings.gateway
    section, token_settings = "token", gateway.token
    if channel is not None and gateway.subscription_token.has_keys:
        section, token_settings = "subscription_token", gateway.subscription_token
    if private_key is not None:
        key = _read_private_key(private_key, key_id)
    else:
        key = _read_secret(token_settings, section, str(loaded.file or "gatewatch.yaml"))
    issuer = TokenIssuer(token_settings, key, clock=SystemClock())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InsecureKeyLengthWarning)
        if channel is None:
            text = issuer.connection(user, ttl_s=ttl, info=info)
        else:
            text = issuer.subscription(user, channel, ttl_s=ttl, info=info)
    if caught:
        write_error(f"gateway.{section}.hmac_secret", "too short to be safe; take 32 bytes or more")
    if as_json:
        write_json({"token": text})
    else:
        write_line(text)


def _read_secret(token_settings: TokenSettings, section: str, file: str) -> SigningKey:
    from service.gateway.token_errors import TokenKeyError
    from service.gateway.token_issuing import shared_secret

    name = f"gateway.{section}.hmac_secret"
    if token_settings.hmac_secret is None:
        message = (
            f"{name}: not set, so no token can be signed; "
            "set it to at least 32 random characters, or give --private-key"
        )
        raise ConfigurationError([Problem(file, 0, 0, message)])
    try:
        return shared_secret(token_settings.hmac_secret.get_secret_value())
    except TokenKeyError as error:
        raise ConfigurationError([Problem(file, 0, 0, f"{name}: it {error}")]) from error


def _read_private_key(file: Path, key_id: str | None) -> SigningKey:
    from service.gateway.token_errors import TokenKeyError
    from service.gateway.token_issuing import private_key

    try:
        return private_key(file.read_bytes(), key_id=key_id)
    except OSError as error:
        raise ConfigurationError([Problem(str(file), 0, 0, error.strerror or "")]) from error
    except TokenKeyError as error:
        raise ConfigurationError([Problem(str(file), 0, 0, f"it {error}")]) from error
