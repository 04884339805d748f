"""``gatewatch demo``: the whole product on one terminal, on real sockets, in about 15 seconds."""

from service.demo.tour import run_demo

__all__ = ["run_demo"]
