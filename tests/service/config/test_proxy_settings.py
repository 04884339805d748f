"""Settings of back ends: what they refuse, and in which words."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.config.gateway_settings import GatewaySettings

URL = "http://127.0.0.1:3000/centrifugo/rpc"


def upstream(**options: Any) -> dict[str, Any]:
    return {"rpc": {"endpoint": URL, **options}}


def test_a_url_is_enough():
    """The rest has defaults, and without back ends nothing is forwarded."""
    settings = GatewaySettings.model_validate({"proxy": upstream()}).proxy

    assert (settings.rpc.timeout, settings.rpc.max_in_flight) == (1.0, 100)
    assert list(GatewaySettings().proxy.upstreams()) == []


@pytest.mark.parametrize(
    ("proxy", "complaint"),
    [
        ({"proxies": [{"name": "shop"}]}, "endpoint"),
        ({"rpc": {"endpoint": "grpc://localhost:3000"}}, "http"),
        (upstream(timeout="8s"), "timeout must be shorter than gateway.pong_timeout"),
        (upstream(http_headers=["Cookie:"]), "'Cookie:' is no name of a header"),
        (upstream(http_headers=["Host"]), "Host belongs to the request that carries it"),
        (upstream(emulated_headers=["Sec-WebSocket-Key"]), "is not passed on"),
        (upstream(static_headers={"traceparent": "x"}), "traceparent belongs to the request"),
        (
            upstream(static_headers={"X-Key": "k"}, emulated_headers=["x-key"]),
            "a client could replace the static header X-Key",
        ),
        (
            {"rpc": {"endpoint": "http://a:b@c/", "http_headers": ["Authorization"]}},
            "the credentials in the URL are sent as the header Authorization as well",
        ),
        (upstream(status_to_code_transforms=[{"status_code": 404}]), "either to_error or"),
        (
            upstream(
                status_to_code_transforms=[
                    {"status_code": 404, "to_error": {"code": 404}},
                    {"status_code": 404, "to_error": {"code": 405}},
                ]
            ),
            "the status 404 stands there twice",
        ),
        (
            upstream(status_to_code_transforms=[{"status_code": 404, "to_error": {"code": 108}}]),
            "greater than or equal to 400",
        ),
        (
            upstream(
                status_to_code_transforms=[
                    {"status_code": 404, "to_disconnect": {"code": 4000, "reason": "{}"}}
                ]
            ),
            "pattern",
        ),
        (upstream(max_in_flight=0), "greater than or equal to 1"),
        ({"proxies": [{"name": "a", "endpoint": URL}]}, "'a' is no name"),
        (
            {"proxies": [{"name": "aa", "endpoint": URL}, {"name": "aa", "endpoint": URL}]},
            "the name aa stands there twice",
        ),
        (
            {
                "proxies": [{"name": "shop", "endpoint": URL}],
                "rpc_namespaces": [{"name": "buy", "proxy_name": "shep"}],
            },
            "there is no shep in gateway.proxy.proxies; there are only shop",
        ),
        (
            {"rpc_namespaces": [{"name": "buy", "proxy_name": "shop"}]},
            "there are none",
        ),
        ({"rpc_namespaces": [{"name": "buy"}]}, "the methods buy:... lead nowhere"),
    ],
)
def test_what_cannot_work_is_refused(proxy: dict[str, Any], complaint: str):
    """With the place and what would be right."""
    with pytest.raises(ValidationError) as caught:
        GatewaySettings.model_validate({"proxy": proxy})

    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"subscribe_proxy_enabled": True},
            "set subscribe_proxy_name, or gateway.proxy.subscribe.endpoint",
        ),
        (
            {"publish_proxy_enabled": True, "publish_proxy_name": "shep"},
            "there is no shep in gateway.proxy.proxies; there are only shop",
        ),
        (
            {"sub_refresh_proxy_enabled": True},
            "set sub_refresh_proxy_name, or gateway.proxy.sub_refresh.endpoint",
        ),
        ({"publish_proxy_name": "shop"}, "shop is not asked unless publish_proxy_enabled is set"),
    ],
)
def test_channels_without_a_back_end_to_ask_are_refused(options: dict[str, Any], complaint: str):
    """In the options of all channels and in those of a namespace."""
    proxy = {"proxies": [{"name": "shop", "endpoint": URL}]}

    for place in ({"channels": options}, {"namespaces": [{"name": "chat", **options}]}):
        with pytest.raises(ValidationError) as caught:
            GatewaySettings.model_validate({"proxy": proxy, **place})
        assert complaint in str(caught.value)


def test_the_timeouts_of_all_back_ends_are_held_against_the_pong_timeout():
    """Also of those that only namespaces use."""
    proxy = {"proxies": [{"name": "shop", "endpoint": URL, "timeout": "20s"}]}

    with pytest.raises(ValidationError, match="timeout must be shorter"):
        GatewaySettings.model_validate({"proxy": proxy})


def test_static_headers_are_not_shown():
    """They are how a back end knows the gateway."""
    settings = GatewaySettings.model_validate({"proxy": upstream(static_headers={"X-Key": "k-9"})})

    assert "k-9" not in repr(settings)
