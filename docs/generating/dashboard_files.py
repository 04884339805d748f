"""The Grafana dashboards in docs/dashboards, from the panels in dashboard_panels.py."""

from __future__ import annotations

import json
from typing import Any, Final

from generating.dashboard_model import Dashboard, Panel

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_HEIGHT: Final = 7


def rendered(dashboard: Dashboard) -> str:
    """Return the file of a dashboard."""
    body = {
        "uid": f"gatewatch-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["gatewatch"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": _panels(dashboard),
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _variables() -> list[dict[str, Any]]:
    known = "process_uptime_seconds"
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _variable("job", f"label_values({known}, job)"),
        _variable("instance", f'label_values({known}{{job=~"$job"}}, instance)'),
    ]


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Place the panels of each row from left to right, and begin a line where one is full."""
    placed: list[dict[str, Any]] = []
    top = 0
    for title, panels in dashboard.rows:
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
                "panels": [],
            }
        )
        top += 1
        left = height = 0
        for panel in panels:
            if left + panel.width > _WIDTH:
                left, top = 0, top + height
            height = 4 if panel.kind == "stat" else _HEIGHT
            position = {"x": left, "y": top, "w": panel.width, "h": height}
            placed.append(_panel(panel, len(placed) + 1, position))
            left += panel.width
        top += height
    return placed


def _panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _DATASOURCE,
            "expr": line.expression,
            "legendFormat": line.legend,
            "exemplar": line.expression.startswith("histogram_quantile"),
            "range": True,
        }
        for index, line in enumerate(panel.lines)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }
