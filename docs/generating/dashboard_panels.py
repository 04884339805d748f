"""The panels of the dashboards: a table, as long as there are panels."""

from __future__ import annotations

from typing import Final

from generating.dashboard_model import (
    OF,
    Dashboard,
    Line,
    Panel,
    alerts,
    least,
    quantiles,
    rate,
    share,
    single,
    stat,
    total,
)

GATEWAY: Final = Dashboard(
    "gateway",
    "gatewatch: gateway",
    (
        (
            "Now",
            (
                stat("Connections", "short", total("gateway_connection_count")),
                stat("Subscriptions", "short", total("gateway_subscription_count")),
                stat("Channels", "short", total("gateway_channel_count")),
                stat("Delivered", "ops", rate("gateway_message_delivered_total")),
                stat("Received", "ops", rate("gateway_message_received_total")),
                stat("Dropped", "ops", rate("gateway_message_dropped_total")),
            ),
        ),
        (
            "Messages",
            (
                Panel(
                    "Delivery latency by namespace",
                    "s",
                    quantiles("gateway_message_latency_seconds", "messaging_destination_template"),
                ),
                Panel(
                    "Messages",
                    "ops",
                    [
                        Line(
                            rate("gateway_message_received_total", "gateway_message_source"),
                            "received from {{gateway_message_source}}",
                        ),
                        Line(rate("gateway_message_delivered_total"), "delivered"),
                        Line(rate("gateway_message_conflated_total"), "conflated"),
                    ],
                ),
                Panel(
                    "Dropped",
                    "ops",
                    single(rate("gateway_message_dropped_total", "error_type"), "{{error_type}}"),
                ),
                Panel(
                    "Traffic",
                    "Bps",
                    single(
                        rate("gateway_message_io_bytes_total", "network_io_direction"),
                        "{{network_io_direction}}",
                    ),
                ),
                Panel(
                    "Commands",
                    "ops",
                    single(
                        rate("gateway_commands_total", "messaging_operation_name", "error_type"),
                        "{{messaging_operation_name}} {{error_type}}",
                    ),
                ),
                Panel(
                    "Duration of commands",
                    "s",
                    quantiles("messaging_process_duration_seconds", "messaging_operation_name"),
                ),
            ),
        ),
        (
            "Connections",
            (
                Panel(
                    "Connections",
                    "short",
                    [
                        Line(total("gateway_connection_count", "instance"), "{{instance}}"),
                        Line(
                            total("gateway_connection_limit", "instance"), "limit of {{instance}}"
                        ),
                    ],
                ),
                Panel(
                    "Handshakes",
                    "ops",
                    single(
                        rate("gateway_connection_handshakes_total", "error_type"),
                        "accepted {{error_type}}",
                    ),
                ),
                Panel(
                    "Closed by the gateway",
                    "ops",
                    single(
                        rate("gateway_connection_closed_total", "gateway_close_code"),
                        "{{gateway_close_code}}",
                    ),
                ),
                Panel("Life of connections", "s", quantiles("gateway_connection_duration_seconds")),
                Panel(
                    "Send queues",
                    "bytes",
                    [
                        Line(total("gateway_send_queue_usage_bytes"), "all"),
                        Line(f"max (gateway_send_queue_largest_bytes{{{OF}}})", "largest"),
                    ],
                ),
                Panel(
                    "Recovery",
                    "ops",
                    [
                        Line(
                            rate("gateway_recoveries_total", "error_type"),
                            "came back {{error_type}}",
                        ),
                        Line(rate("gateway_positions_lost_total"), "positions lost"),
                    ],
                ),
            ),
        ),
        (
            "Batches and history",
            (
                Panel("Messages in a batch", "short", quantiles("gateway_batch_size")),
                Panel("Wait in a batch", "s", quantiles("gateway_batch_wait_seconds")),
                Panel("Size of a batch", "bytes", quantiles("gateway_batch_body_size_bytes")),
                Panel(
                    "Why batches are sent",
                    "ops",
                    single(
                        rate("gateway_batch_flushes_total", "gateway_flush_reason"),
                        "{{gateway_flush_reason}}",
                    ),
                ),
                Panel(
                    "Waiting",
                    "short",
                    [
                        Line(total("gateway_batch_queue_size"), "in batchers"),
                        Line(rate("gateway_batch_failed_total"), "failed a second"),
                    ],
                ),
                Panel(
                    "History",
                    "bytes",
                    [
                        Line(total("gateway_history_usage_bytes"), "used"),
                        Line(total("gateway_history_limit_bytes"), "limit"),
                    ],
                ),
            ),
        ),
        (
            "HTTP and back ends",
            (
                Panel(
                    "Requests served",
                    "reqps",
                    single(
                        rate(
                            "http_server_request_duration_seconds_count",
                            "http_route",
                            "http_response_status_code",
                        ),
                        "{{http_route}} {{http_response_status_code}}",
                    ),
                ),
                Panel(
                    "Duration of requests served",
                    "s",
                    quantiles("http_server_request_duration_seconds", "http_route"),
                ),
                Panel(
                    "Back ends",
                    "s",
                    quantiles("gateway_proxy_duration_seconds", "gateway_proxy_upstream"),
                ),
                Panel(
                    "Circuit breakers (2: left alone)",
                    "short",
                    single(
                        f"max by (gateway_proxy_upstream) (gateway_proxy_circuit_state{{{OF}}})",
                        "{{gateway_proxy_upstream}}",
                    ),
                    maximum=2,
                ),
                Panel(
                    "Requests made",
                    "s",
                    quantiles("http_client_request_duration_seconds", "server_address"),
                ),
                Panel(
                    "Errors of requests made",
                    "ops",
                    single(rate("gateway_pool_errors_total", "error_type"), "{{error_type}}"),
                ),
            ),
        ),
    ),
)

ALERTS: Final = Dashboard(
    "alerts-and-health",
    "gatewatch: alerts and health",
    (
        (
            "Now",
            (
                stat(
                    "Firing",
                    "short",
                    alerts("firing"),
                ),
                stat(
                    "Pending",
                    "short",
                    alerts("pending"),
                ),
                stat(
                    "Checks that fail", "short", f"count (probe_success{{{OF}}} == 0) or vector(0)"
                ),
                stat("Not delivered", "short", total("gateway_notification_queue_size")),
                stat(
                    "Configuration is good", "short", f"min (gateway_config_reload_success{{{OF}}})"
                ),
                stat("Series", "short", total("gateway_series_count")),
            ),
        ),
        (
            "Alerts",
            (
                Panel(
                    "Alerts",
                    "short",
                    single(
                        total(
                            "gateway_alert_count", "gateway_alert_state", "gateway_alert_severity"
                        ),
                        "{{gateway_alert_state}} {{gateway_alert_severity}}",
                    ),
                ),
                Panel(
                    "Which alerts",
                    "short",
                    single(
                        f"count by (alertname, alertstate) (ALERTS{{{OF}}})",
                        "{{alertname}} {{alertstate}}",
                    ),
                    width=16,
                ),
            ),
        ),
        (
            "Checks",
            (
                Panel(
                    "State (0 unknown, 1 up, 2 degraded, 3 down)",
                    "short",
                    single(f"max by (check) (gateway_health_state{{{OF}}})", "{{check}}"),
                    maximum=3,
                ),
                Panel(
                    "Success",
                    "percentunit",
                    single(
                        f"avg by (check) (avg_over_time(probe_success{{{OF}}}[$__rate_interval]))",
                        "{{check}}",
                    ),
                    maximum=1,
                ),
                Panel("Duration", "s", quantiles("gateway_health_check_duration_seconds", "kind")),
                Panel(
                    "Last status",
                    "short",
                    single(f"max by (check) (probe_http_status_code{{{OF}}})", "{{check}}"),
                ),
                Panel(
                    "Last duration",
                    "s",
                    single(f"max by (check) (probe_duration_seconds{{{OF}}})", "{{check}}"),
                    width=16,
                ),
            ),
        ),
        (
            "Rules",
            (
                Panel(
                    "Evaluation",
                    "s",
                    quantiles("gateway_rule_evaluation_duration_seconds", "gateway_rule_group"),
                ),
                Panel(
                    "Missed and failed",
                    "ops",
                    [
                        Line(
                            rate("gateway_rule_evaluation_missed_total", "gateway_rule_group"),
                            "{{gateway_rule_group}} missed",
                        ),
                        Line(
                            rate("gateway_rule_evaluation_failed_total", "gateway_rule_group"),
                            "{{gateway_rule_group}} failed",
                        ),
                        Line(rate("gateway_rule_state_failed_total"), "not stored"),
                    ],
                ),
                Panel(
                    "Series store",
                    "bytes",
                    single(total("gateway_series_memory_bytes", "instance"), "{{instance}}"),
                ),
                Panel(
                    "Samples",
                    "ops",
                    [
                        Line(rate("gateway_series_samples_total"), "taken"),
                        Line(
                            rate("gateway_series_samples_refused_total", "error_type"),
                            "refused: {{error_type}}",
                        ),
                    ],
                    width=12,
                ),
                Panel(
                    "Reloads",
                    "ops",
                    single(
                        rate("gateway_config_reloads_total", "error_type"), "reloads {{error_type}}"
                    ),
                    width=12,
                ),
            ),
        ),
        (
            "Notifications",
            (
                Panel(
                    "Duration of attempts",
                    "s",
                    quantiles("gateway_notification_duration_seconds", "gateway_receiver"),
                ),
                Panel(
                    "Delivered and given up",
                    "ops",
                    [
                        Line(
                            rate("gateway_notification_delivered_total", "gateway_receiver"),
                            "{{gateway_receiver}} delivered",
                        ),
                        Line(
                            rate("gateway_notification_retries_total", "gateway_receiver"),
                            "{{gateway_receiver}} tried again",
                        ),
                        Line(
                            rate(
                                "gateway_notification_failed_total",
                                "gateway_receiver",
                                "error_type",
                            ),
                            "{{gateway_receiver}} {{error_type}}",
                        ),
                    ],
                ),
                Panel(
                    "Waiting",
                    "short",
                    single(total("gateway_notification_queue_size", "instance"), "{{instance}}"),
                ),
            ),
        ),
        (
            "Jobs",
            (
                Panel(
                    "Duration", "s", quantiles("gateway_job_duration_seconds", "gateway_job_kind")
                ),
                Panel(
                    "Late", "s", quantiles("gateway_job_schedule_delay_seconds", "gateway_job_kind")
                ),
                Panel(
                    "Missed and failed",
                    "ops",
                    [
                        Line(
                            rate("gateway_job_missed_total", "gateway_job_kind"),
                            "{{gateway_job_kind}} missed",
                        ),
                        Line(
                            rate("gateway_job_failed_total", "gateway_job_kind"),
                            "{{gateway_job_kind}} failed",
                        ),
                    ],
                ),
            ),
        ),
    ),
)

RUNTIME: Final = Dashboard(
    "runtime",
    "gatewatch: runtime",
    (
        (
            "Process",
            (
                Panel(
                    "CPU",
                    "percentunit",
                    single(
                        rate("process_cpu_time_seconds_total", "instance", "cpu_mode"),
                        "{{instance}} {{cpu_mode}}",
                    ),
                ),
                Panel(
                    "Memory",
                    "bytes",
                    [
                        Line(
                            total("process_memory_usage_bytes", "instance"), "{{instance}} resident"
                        ),
                        Line(
                            total("process_memory_virtual_bytes", "instance"),
                            "{{instance}} address space",
                        ),
                    ],
                ),
                Panel(
                    "Open files",
                    "percentunit",
                    single(
                        share(
                            "process_unix_file_descriptor_count",
                            "process_unix_file_descriptor_limit",
                        ),
                        "{{instance}}",
                    ),
                    maximum=1,
                ),
                Panel("Uptime", "s", single(f"process_uptime_seconds{{{OF}}}", "{{instance}}")),
                Panel(
                    "Threads",
                    "short",
                    single(total("process_thread_count", "instance"), "{{instance}}"),
                ),
                Panel(
                    "Cores and pages",
                    "ops",
                    [
                        Line(
                            rate("process_context_switches_total", "process_context_switch_type"),
                            "switches {{process_context_switch_type}}",
                        ),
                        Line(
                            rate("process_paging_faults_total", "system_paging_fault_type"),
                            "page faults {{system_paging_fault_type}}",
                        ),
                    ],
                ),
            ),
        ),
        (
            "Event loop and garbage",
            (
                Panel(
                    "How late timers are",
                    "s",
                    quantiles("gateway_event_loop_lag_seconds", "instance"),
                ),
                Panel(
                    "Tasks",
                    "short",
                    single(total("gateway_event_loop_tasks", "instance"), "{{instance}}"),
                ),
                Panel(
                    "Pauses of collections",
                    "s",
                    quantiles("gateway_gc_pause_seconds", "cpython_gc_generation"),
                ),
                Panel(
                    "Collections",
                    "ops",
                    single(
                        rate("cpython_gc_collections_total", "cpython_gc_generation"),
                        "generation {{cpython_gc_generation}}",
                    ),
                ),
                Panel(
                    "Garbage",
                    "ops",
                    [
                        Line(rate("cpython_gc_collected_objects_total"), "freed"),
                        Line(rate("cpython_gc_uncollectable_objects_total"), "not freed"),
                    ],
                ),
                Panel(
                    "Log records",
                    "ops",
                    [
                        Line(
                            rate("gateway_log_records_total", "gateway_log_level"),
                            "{{gateway_log_level}}",
                        ),
                        Line(rate("gateway_log_left_out_total"), "left out"),
                    ],
                ),
            ),
        ),
        (
            "HTTP connections",
            (
                Panel(
                    "Requests being served",
                    "short",
                    single(total("http_server_active_requests", "instance"), "{{instance}}"),
                ),
                Panel(
                    "Connections",
                    "short",
                    [
                        Line(
                            total("http_client_open_connections", "http_connection_state"),
                            "{{http_connection_state}}",
                        ),
                        Line(total("gateway_pool_limit"), "limit"),
                    ],
                ),
                Panel("Wait for a connection", "s", quantiles("gateway_pool_wait_seconds")),
                Panel(
                    "Waiting",
                    "short",
                    single(
                        total("gateway_pool_waiting", "gateway_pool_name"), "{{gateway_pool_name}}"
                    ),
                ),
                Panel(
                    "Timeouts",
                    "ops",
                    single(rate("gateway_pool_timeouts_total", "error_type"), "{{error_type}}"),
                ),
                Panel(
                    "Connections a second",
                    "ops",
                    [
                        Line(rate("gateway_pool_connections_created_total"), "opened"),
                        Line(rate("gateway_pool_connections_reused_total"), "used again"),
                    ],
                ),
            ),
        ),
        (
            "Telemetry",
            (
                Panel(
                    "Collector accepts",
                    "short",
                    single(
                        least("gateway_telemetry_export_success", "gateway_telemetry_signal"),
                        "{{gateway_telemetry_signal}}",
                    ),
                    maximum=1,
                ),
                Panel(
                    "Sent",
                    "ops",
                    single(
                        rate("gateway_telemetry_exported_total", "gateway_telemetry_signal"),
                        "{{gateway_telemetry_signal}}",
                    ),
                ),
                Panel(
                    "Lost",
                    "ops",
                    [
                        Line(
                            rate("gateway_telemetry_dropped_total", "gateway_telemetry_signal"),
                            "{{gateway_telemetry_signal}} dropped",
                        ),
                        Line(
                            rate("gateway_telemetry_rejected_total", "gateway_telemetry_signal"),
                            "{{gateway_telemetry_signal}} refused",
                        ),
                    ],
                ),
                Panel(
                    "Queues",
                    "percentunit",
                    single(
                        share("gateway_telemetry_queue_size", "gateway_telemetry_queue_capacity"),
                        "{{instance}} {{gateway_telemetry_signal}}",
                    ),
                    maximum=1,
                    width=12,
                ),
                Panel(
                    "Trace parents of peers",
                    "ops",
                    single(
                        rate("gateway_telemetry_trace_parents_total", "error_type"),
                        "sent {{error_type}}",
                    ),
                    width=12,
                ),
            ),
        ),
    ),
)

DASHBOARDS: Final = (GATEWAY, ALERTS, RUNTIME)
