"""Relative paths made absolute: those in a file are relative to it, others to where we are."""

from __future__ import annotations

import re
from pathlib import Path

from alerts.documents import ValuePath
from service.config.layers import Layers
from service.config.settings import Settings

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(.+)", re.ASCII)


def with_absolute_paths(settings: Settings, layers: Layers) -> Settings:
    """Return the settings with every path absolute.

    Args:
        settings: Valid settings.
        layers: What they were made of, which knows where each value came from.
    """

    def absolute(path: ValuePath, value: Path | str) -> Path:
        return layers.directory(path) / value

    service, alerts, telemetry = settings.service, settings.alerts, settings.telemetry
    otlp = telemetry.otlp
    config = alerts.alertmanager_config
    return settings.model_copy(
        update={
            "service": service.model_copy(
                update={"data_dir": absolute(("service", "data_dir"), service.data_dir)}
            ),
            "telemetry": telemetry.model_copy(
                update={
                    "otlp": otlp.model_copy(
                        update={
                            name: file and absolute(("telemetry", "otlp", name), file)
                            for name, file in (
                                ("ca_file", otlp.ca_file),
                                ("cert_file", otlp.cert_file),
                                ("key_file", otlp.key_file),
                            )
                        }
                    )
                }
            ),
            "alerts": alerts.model_copy(
                update={
                    "rule_files": tuple(
                        str(absolute(("alerts", "rule_files"), file)) for file in alerts.rule_files
                    ),
                    "alertmanager_config": config
                    and absolute(("alerts", "alertmanager_config"), config),
                    "channel_folders": tuple(
                        absolute(("alerts", "channel_folders"), folder)
                        for folder in alerts.channel_folders
                    ),
                    "storage_url": _SQLITE.sub(
                        lambda url: url[1] + str(absolute(("alerts", "storage_url"), url[2])),
                        alerts.storage_url,
                    ),
                }
            ),
        }
    )
