"""Writes the Grafana dashboards in docs/dashboards from the panels in dashboard_panels.py.

python docs/generate_dashboards.py           writes them
python docs/generate_dashboards.py --check   says whether they are right; exit code 1 if not
"""  # noqa: INP001 - a script

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from dashboard_model import Dashboard, Panel
from dashboard_panels import DASHBOARDS

FOLDER: Final = Path(__file__).parent / "dashboards"

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


def main(arguments: list[str]) -> int:
    """Write or check the files and return the exit code."""
    code = 0
    for dashboard in DASHBOARDS:
        file = FOLDER / f"{dashboard.name}.json"
        text = rendered(dashboard)
        if arguments == ["--check"]:
            if not file.exists() or file.read_text("utf-8") != text:
                sys.stderr.write(f"{file} is out of date: python docs/generate_dashboards.py\n")
                code = 1
            continue
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
