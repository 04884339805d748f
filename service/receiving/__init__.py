"""Metrics of other services: OTLP over HTTP into the series store."""
