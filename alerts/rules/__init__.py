"""Rule files, rule groups, the alert state machine and the templates in annotations."""
