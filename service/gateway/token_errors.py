"""Why a token does not let its client in.

GatewayError
├── TokenKeyError           a key that cannot be used, with the reason
├── TokenRefusedError       the token is none of ours, or says what cannot be
├── TokenExpiredError       it was one of ours, and its time is not now
└── KeysUnavailableError    the keys to judge it by cannot be had for the moment

``service.gateway.authentication`` makes the protocol's answers of them.
"""

from __future__ import annotations

from service.gateway.codes import GatewayError


class TokenKeyError(GatewayError):
    """A key that cannot be used; the text says why, without the key, to follow its name."""


class TokenRefusedError(GatewayError):
    """A token that is not ours or not usable; the text is for the log, without the token."""


class TokenExpiredError(GatewayError):
    """A token of ours before or after its time: the client should get another one."""


class KeysUnavailableError(GatewayError):
    """No key to judge the token by can be had now; trying again later may help."""
