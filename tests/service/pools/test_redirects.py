"""Which redirects leave an origin."""

from __future__ import annotations

import pytest
from yarl import URL

from service.pools.redirects import _leaves


@pytest.mark.parametrize(
    ("url", "location", "leaves"),
    [
        ("http://h/a", "/b", False),
        ("http://h/", "http://h:80/", False),
        ("http://h/", "https://h/", False),
        ("http://h/", "https://h:8443/", True),
        ("http://h:8080/", "https://h/", True),
        ("https://h/", "http://h/", True),
        ("http://h/", "http://h:8080/", True),
        ("http://h/", "https://other/", True),
        ("http://h/", "//other/", True),
        ("http://h/", "http://[", True),
    ],
)
def test_leaving_an_origin(url: str, location: str, leaves: bool) -> None:
    """Another scheme, host or port does, but the usual step to TLS does not."""
    assert _leaves(URL(url), location) is leaves
