"""What an endpoint of Gatus looks at, as a probe: told by the scheme of its URL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from service.health.gatus.remarks import Place

Probe = tuple[str, dict[str, object]]
"""The kind of a probe and its settings."""

_BODY_PLACEHOLDERS: Final = (
    "[ENDPOINT_NAME]",
    "[ENDPOINT_GROUP]",
    "[ENDPOINT_URL]",
    "[LOCAL_ADDRESS]",
    "[RANDOM_STRING_",
)


def carried_probe(place: Place) -> Probe | None:
    """Return the probe of an endpoint; None, with a remark, when there is none like it."""
    url = place.text("url")
    if place.inside("dns") is not None:
        return _dns(place, url)
    if place.data.get("ssh") is not None or url.startswith("ssh://"):
        place.remark("url", f"{place.text('name')}: there are no ssh checks; left out")
        return None
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    carry = _BY_SCHEME.get(scheme)
    if carry is None:
        what = f"there are no {scheme} checks" if scheme else f"{url!r} is no URL"
        place.remark("url", f"{place.text('name')}: {what}; left out")
        return None
    return carry(place, url)


def _dns(place: Place, url: str) -> Probe:
    inner = place.inside("dns")
    found: dict[str, object] = {}
    if inner is not None:
        inner.leave_out_others("query-name", "query-type")
        found["query_name"] = inner.text("query-name")
        found["query_type"] = inner.text("query-type").upper() or "A"
    found["server"] = url.rpartition("://")[2]
    return "dns", found


def _http(place: Place, url: str) -> Probe:
    found: dict[str, object] = {"url": url}
    body = _body(place)
    headers = place.texts("headers")
    if place.flag("graphql"):
        body = json.dumps({"query": body})
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
    found |= _given(method=place.text("method").upper(), headers=headers, body=body)
    client = place.inside("client")
    if client is not None:
        if client.flag("ignore-redirect"):
            found["follow_redirects"] = False
        oauth2 = client.inside("oauth2")
        if oauth2 is not None:
            found["oauth2"] = {
                "token_url": oauth2.text("token-url"),
                "client_id": oauth2.text("client-id"),
                "client_secret": oauth2.text("client-secret"),
                "scopes": _scopes(oauth2),
            }
    return "http", {**found, **_tls(place)}


def _tcp(place: Place, url: str) -> Probe:
    return "tcp", {"address": _address(url), **_given(send=_body(place))}


def _tls_probe(place: Place, url: str) -> Probe:
    found: dict[str, object] = {"address": _address(url), "min_validity": "0s", **_tls(place)}
    if url.startswith("starttls://"):
        found["starttls"] = "smtp"
    place.leave_out("body", why="a tls check sends nothing")
    return "tls", found


def _icmp(_place: Place, url: str) -> Probe:
    return "icmp", {"host": url.partition("://")[2].strip("/")}


def _websocket(place: Place, url: str) -> Probe:
    sent = _given(headers=place.texts("headers"), send=_body(place))
    return "websocket", {"url": url, **sent, **_tls(place)}


def _grpc(place: Place, url: str) -> Probe:
    found: dict[str, object] = {"address": _address(url)}
    if url.startswith("grpcs://"):
        found["use_tls"] = True
        client = place.inside("client")
        if client is not None:
            client.leave_out("insecure", why="gRPC always verifies certificates")
    return "grpc", found


def _redis(_place: Place, url: str) -> Probe:
    return "redis", {"url": url}


_BY_SCHEME: Final[Mapping[str, Callable[[Place, str], Probe]]] = MappingProxyType(
    {
        "http": _http,
        "https": _http,
        "tcp": _tcp,
        "tls": _tls_probe,
        "starttls": _tls_probe,
        "icmp": _icmp,
        "ws": _websocket,
        "wss": _websocket,
        "grpc": _grpc,
        "grpcs": _grpc,
        "redis": _redis,
        "rediss": _redis,
    }
)


def _address(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _body(place: Place) -> str:
    body = place.text("body")
    held = next((text for text in _BODY_PLACEHOLDERS if text in body), None)
    if held is not None:
        place.remark("body", f"body: {held}... in it is sent as it stands")
    return body


def _tls(place: Place) -> dict[str, object]:
    client = place.inside("client")
    if client is None:
        return {}
    tls: dict[str, object] = {"verify": False} if client.flag("insecure") else {}
    inner = client.inside("tls")
    if inner is not None:
        tls |= _given(
            cert_file=inner.text("certificate-file"), key_file=inner.text("private-key-file")
        )
        inner.leave_out_others("certificate-file", "private-key-file")
    return {"tls": tls} if tls else {}


def _scopes(place: Place) -> list[str]:
    listed = place.data.get("scopes")
    return [str(scope) for scope in listed] if isinstance(listed, list) else []


def _given(**values: object) -> dict[str, object]:
    """Return the values that are not empty."""
    return {name: value for name, value in values.items() if value}
