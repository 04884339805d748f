"""From alerts to notifications: Alertmanager's configuration, grouping and timing."""
