"""Which proxy a request goes through.

Source: Go, golang.org/x/net/http/httpproxy, whose rules Alertmanager follows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from alerts.notify.transport import ProxyOptions


def chosen_proxy(url: str, options: ProxyOptions, environment: Mapping[str, str]) -> str:
    """Return the URL of the proxy for a request, empty for none.

    Args:
        url: What is requested.
        options: What the configuration says.
        environment: Variables of a process.
    """
    if options.url is None and not options.from_environment:
        return ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    if options.url is not None:
        return "" if is_excepted(host, port, options.no_proxy) else options.url.reveal()
    if host == "localhost" or _is_loopback(host):
        return ""
    if is_excepted(host, port, _variable(environment, "no_proxy")):
        return ""
    proxy = _variable(environment, f"{parts.scheme}_proxy")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Whether a host is among those that are reached without a proxy."""
    return any(_meets(host.lower(), port, part.strip().lower()) for part in exceptions.split(","))


def _meets(host: str, port: int, rule: str) -> bool:
    if not rule:
        return False
    if rule == "*":
        return True
    if "/" in rule:
        return _is_in_network(host, rule)
    name, wanted_port = _split(rule)
    if wanted_port is not None and wanted_port != port:
        return False
    if name.startswith("*."):
        name = name[1:]
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _split(rule: str) -> tuple[str, int | None]:
    name, colon, port = rule.rpartition(":")
    is_port = bool(colon) and port.isdecimal() and (":" not in name or name.endswith("]"))
    return (name.strip("[]"), int(port)) if is_port else (rule.strip("[]"), None)


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
