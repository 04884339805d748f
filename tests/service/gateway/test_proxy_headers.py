"""Which headers of clients back ends get to see."""

import pytest
from multidict import CIMultiDict

from service.config.proxy_settings import UpstreamSettings
from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.proxy_headers import PassedOnHeaders


def test_headers_are_picked_from_the_request_and_from_connect():
    """Names in any case; several cookies are one header; what no header can be is refused."""
    upstreams = [
        UpstreamSettings.model_validate({"http_headers": ["Cookie", "X-Odd"]}),
        UpstreamSettings.model_validate({"emulated_headers": ["Authorization"]}),
    ]
    headers = PassedOnHeaders(upstreams)
    source = CIMultiDict([("COOKIE", "a=1"), ("cookie", "b=2"), ("x-odd", "\udcff"), ("n", "")])

    assert headers.of_request(source) == {"cookie": "a=1; b=2"}
    given = {"AUTHORIZATION": "t", "x-user": "root"}
    assert headers.emulated(given) == {"authorization": "t"}
    assert headers.emulated(None) == {}
    with pytest.raises(ProtocolError, match="107"):
        headers.emulated({"Authorization": "a\r\nx-user: root"})
    with pytest.raises(DisconnectError, match="3501"):
        headers.emulated({"Authorization": 1})
    with pytest.raises(DisconnectError, match="3501"):
        headers.emulated([])
