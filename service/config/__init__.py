"""gatewatch.yaml, the environment and ``--set``, made into one validated ``Settings``."""
