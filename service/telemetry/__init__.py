"""OpenTelemetry: providers, instruments, propagation, logs and the feed of the series store."""
