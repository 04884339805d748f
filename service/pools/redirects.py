"""What of a request goes along when it is redirected: to another origin only what is no secret.

aiohttp itself leaves behind ``Authorization`` and cookies. A key in a header of another name, or a
body, is as much for the first host alone.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Final

import aiohttp
from yarl import URL

from service.pools.errors import HTTPFailure
from service.pools.http_tracing import Exchange

_GOES_ALONG: Final = frozenset(("accept", "accept-encoding", "accept-language", "user-agent"))
"""Headers of the caller that say nothing of him but what he understands."""


def guarded_redirects() -> aiohttp.TraceConfig:
    """Return signals that keep the caller's headers and body from another origin.

    Another origin is another scheme, host or port, but for the usual step from http to https of one
    host. Headers are left behind for the rest of the way. A body that would be sent again ends the
    request: without it it would be another one.
    """
    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(_redirected)
    return config


async def _redirected(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestRedirectParams,
) -> None:
    exchange: Exchange = context.trace_request_ctx
    headers = params.response.headers
    if _drops_body(params):
        exchange.sends_body = False
    if not _leaves(params.url, headers.get("Location") or headers.get("URI") or ""):
        return
    for name in exchange.own_headers:
        if name not in _GOES_ALONG:
            params.headers.popall(name, None)
    if exchange.sends_body:
        raise exchange.fail(
            HTTPFailure.REDIRECTS,
            "the answer redirects to another host, which does not get the body of the request",
        )


def _leaves(url: URL, location: str) -> bool:
    """Return whether a redirect leads to another origin; one that cannot be read does."""
    try:
        target = _origin(url.join(URL(location)))
    except ValueError:
        return True
    origin = _origin(url)
    is_secured = (origin[0], origin[2], target[0], target[2]) == ("http", 80, "https", 443)
    return target != origin and not (is_secured and target[1] == origin[1])


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return (url.scheme, url.host, url.port)


def _drops_body(params: aiohttp.TraceRequestRedirectParams) -> bool:
    """Return whether the next request has no body by the rules of its status."""
    status = params.response.status
    if status == 303:
        return params.method != "HEAD"
    return status in (301, 302) and params.method == "POST"
