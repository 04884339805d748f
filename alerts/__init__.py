"""Alerting as a library: series in, rules evaluated over them, notifications out.

Knows nothing of the gateway and never imports ``service``.
"""
