"""Requests to back ends, as bytes."""

import json
from base64 import b64encode

from service.gateway.proxy_requests import ProxyClient, encode_request

CLIENT = ProxyClient("9336a229", "56", meta=b'{"tier":"gold"}')


def test_a_request_says_whose_it_is():
    """With the fields of Centrifugo's format, and without those that are empty."""
    body = encode_request(CLIENT, {"user": "56", "method": ""}, data=b'{"a":1}')

    assert json.loads(body) == {
        "client": "9336a229",
        "transport": "websocket",
        "protocol": "json",
        "encoding": "json",
        "user": "56",
        "data": {"a": 1},
    }


def test_a_request_carries_meta_and_base64_where_settings_say_so():
    """And only there."""
    body = json.loads(encode_request(CLIENT, {}, data=b"[1]", binary=True, with_meta=True))

    assert body["encoding"] == "binary"
    assert (body["b64data"], body["meta"]) == (b64encode(b"[1]").decode(), {"tier": "gold"})
    assert "data" not in body


def test_null_is_data_and_absence_is_none():
    """A method can be called with null, or with nothing."""
    assert json.loads(encode_request(CLIENT, {}, data=b"null"))["data"] is None
    assert "data" not in json.loads(encode_request(CLIENT, {}))
