"""The gatewatch process: gateway, pools, health checks, telemetry and the command line."""
