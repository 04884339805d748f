"""HTTP endpoints over the library; who runs a server mounts their routes."""
