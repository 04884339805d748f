"""Delivery: the outbox, its workers and the channels they send through."""
