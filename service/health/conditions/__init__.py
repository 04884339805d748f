"""Conditions in Gatus's form on what a probe found, such as ``[STATUS] < 300``; pure, no I/O."""
