"""Bounded sets of connections: outgoing HTTP and incoming WebSocket."""
