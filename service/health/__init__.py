"""Health checks: what is probed, how often, and what its results mean."""
