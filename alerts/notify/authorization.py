"""Makes the header fields that authorize a request, and asks for the tokens that takes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote_plus, urlencode

from alerts.clock import Clock
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.http_config import Authorization, BasicAuth, HTTPConfig, OAuth2, SecretText
from alerts.notify.secret import Secret
from alerts.notify.settings import InFile
from alerts.notify.transport import (
    Transport,
    TransportError,
    TransportRequest,
    TransportResponse,
)

_EARLIER_S: Final = 10.0
"""A token is replaced so long before it ends, in seconds."""

_USUAL_LIFE_S: Final = 3600.0


class Authorizer:
    """Authorizes the requests of one channel; keeps its token."""

    def __init__(self, config: HTTPConfig, transport: Transport, clock: Clock) -> None:
        self._config = config
        self._transport = transport
        self._clock = clock
        self._token: tuple[Secret, float] | None = None
        self._asking = asyncio.Lock()

    @property
    def token(self) -> Secret | None:
        """The token that is used now, None when there is none."""
        return None if self._token is None else self._token[0]

    async def headers(self, files: Mapping[Path, str], timeout_s: float) -> dict[str, str]:
        """Return the header fields for a request.

        Args:
            files: The texts that stand in files.
            timeout_s: Longest wait for a token, in seconds.

        Raises:
            DeliveryError: No token is given.
        """
        fields = {
            name: ", ".join(_revealed(value, files) for value in values)
            for name, values in self._config.headers
        }
        match self._config.authorization:
            case BasicAuth() as basic:
                user = basic.username
                username = files[user.path] if isinstance(user, InFile) else user
                password = "" if basic.password is None else _revealed(basic.password, files)
                fields["Authorization"] = _basic(username, password)
            case Authorization(scheme=scheme, credentials=credentials):
                fields["Authorization"] = f"{scheme} {_revealed(credentials, files)}"
            case OAuth2() as oauth2:
                async with self._asking:  # who comes meanwhile takes the same token
                    token = await self._token_of(oauth2, files, timeout_s)
                fields["Authorization"] = f"Bearer {token.reveal()}"
            case None:
                pass
        return fields

    def refused(self) -> bool:
        """Forget the token, as it was not taken; return whether there was one."""
        had_token, self._token = self._token is not None, None
        return had_token

    async def _token_of(
        self, config: OAuth2, files: Mapping[Path, str], timeout_s: float
    ) -> Secret:
        now_s = self._clock.monotonic()
        if self._token is not None and now_s < self._token[1]:
            return self._token[0]
        secret = _revealed(config.client_secret, files)
        # As RFC 6749 recommends first, and for servers that do not know it, in the body.
        response = await self._ask(config, secret, timeout_s, in_header=True)
        if response.status in (400, 401):
            response = await self._ask(config, secret, timeout_s, in_header=False)
        token, life_s = _granted(response)
        self._token = (token, now_s + max(0.0, life_s - _EARLIER_S))
        return token

    async def _ask(
        self, config: OAuth2, secret: str, timeout_s: float, *, in_header: bool
    ) -> TransportResponse:
        fields = {"grant_type": "client_credentials", **dict(config.parameters)}
        if config.scopes:
            fields["scope"] = " ".join(config.scopes)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        if in_header:
            pair = (quote_plus(config.client_id), quote_plus(secret))
            headers["Authorization"] = _basic(*pair)
        else:
            fields |= {"client_id": config.client_id, "client_secret": secret}
        request = TransportRequest(
            "POST",
            config.token_url,
            headers,
            urlencode(fields).encode(),
            timeout_s,
            config.connection,
        )
        try:
            return await self._transport.send(request)
        except TransportError as error:
            reason = FailureReason.TIMEOUT if error.is_timeout else FailureReason.NETWORK
            message = f"no answer to the request for a token: {error}"
            raise DeliveryError(message, reason) from None


def _granted(response: TransportResponse) -> tuple[Secret, float]:
    """Return the token of an answer, and how long it is good for, in seconds."""
    if response.status >= 500 or response.status == 429:
        message = f"the answer to the request for a token was {response.status}"
        raise DeliveryError(message, FailureReason.SERVER_ERROR)
    try:
        data = json.loads(response.body)
    except ValueError:
        data = None
    fields = data if isinstance(data, dict) else {}
    token = fields.get("access_token")
    if not 200 <= response.status < 300 or not isinstance(token, str) or not token:
        why = fields.get("error_description") or fields.get("error") or "it holds no access_token"
        message = f"no token is given: the answer was {response.status}: {str(why)[:200]}"
        raise DeliveryError(message, FailureReason.REFUSED, permanent=True)
    life = fields.get("expires_in", _USUAL_LIFE_S)
    try:
        return Secret(token), float(life)
    except (TypeError, ValueError):
        return Secret(token), _USUAL_LIFE_S


def _revealed(secret: SecretText, files: Mapping[Path, str]) -> str:
    return files[secret.path] if isinstance(secret, InFile) else secret.reveal()


def _basic(username: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
