"""The message gateway: Centrifuge protocol in front, channels and batching behind."""
