"""``gatewatch token``: a connection token for trying things out."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from alerts.durations import parse_duration
from alerts.errors import DurationError, Problem
from service.cli import options
from service.cli.output import write_error, write_json, write_line
from service.errors import ConfigurationError


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


def _refuse_channel(text: str | None) -> str | None:
    if text is not None:
        raise typer.BadParameter("subscription tokens are not supported yet; leave it out")
    return text


def token(
    user: Annotated[
        str,
        typer.Option(metavar="ID", help="Whom the token speaks for.", callback=_user),
    ],
    ttl: Annotated[
        float,
        typer.Option(metavar="DURATION", help="How long it is good.", parser=_ttl),
    ] = "1h",  # type: ignore[assignment]  # the parser makes seconds of it
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: options.JSONOption = False,
    _channel: Annotated[
        str | None, typer.Option("--channel", hidden=True, callback=_refuse_channel)
    ] = None,
) -> None:
    """Print a connection token, to try things out.

    It is a JWT, signed with gateway.token.hmac_secret (HS256).
    """
    from jwt.warnings import InsecureKeyLengthWarning

    from alerts.clock import SystemClock
    from service.gateway.tokens import ConnectionTokens

    loaded = options.load(config, settings)
    token_settings = loaded.settings.gateway.token
    if token_settings.hmac_secret is None:
        message = (
            "gateway.token.hmac_secret: not set, so no token can be signed; "
            "set it to at least 32 random characters"
        )
        raise ConfigurationError([Problem(str(loaded.file or "gatewatch.yaml"), 0, 0, message)])
    tokens = ConnectionTokens(token_settings, clock=SystemClock())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InsecureKeyLengthWarning)
        text = tokens.issue(user, ttl_s=ttl)
    if caught:
        write_error("gateway.token.hmac_secret", "too short to be safe; take 32 bytes or more")
    if as_json:
        write_json({"token": text})
    else:
        write_line(text)
