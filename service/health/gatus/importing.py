"""A Gatus configuration file becomes the section ``health``.

Source: the README of Gatus 5, "Configuration".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from alerts.documents import Document
from alerts.errors import Problem
from service.config.health_settings import CheckSettings, HealthSettings
from service.health.gatus.conditions import carried_conditions
from service.health.gatus.maintenance import carried_maintenance
from service.health.gatus.probes import carried_probe
from service.health.gatus.remarks import Place

_NOT_CARRIED = {
    "alerting": "receivers are those of alerts.alertmanager_config, in Alertmanager's format",
    "suites": "there are no suites",
    "remote": "there are no remote instances",
    "connectivity": "not carried over; depends_on of checks does that",
    "tunneling": "there are no SSH tunnels",
    "announcements": "there is no status page to announce on",
    "storage": "results are kept in alerts.storage_url",
    "security": "who may read is in operations.auth",
    "web": "where to listen is in operations.host and operations.port",
    "ui": "there is no status page of that kind",
    "concurrency": "how many checks run at the same time is in health.max_concurrent",
}
_SILENT = frozenset(("endpoints", "external-endpoints", "metrics", "maintenance", "debug"))
_ENDPOINT_KEYS = (
    *("enabled", "name", "group", "url", "method", "body", "graphql", "headers", "dns", "ssh"),
    *("interval", "conditions", "alerts", "client", "maintenance-windows", "ui"),
)
_CLIENT_KEYS = ("timeout", "insecure", "ignore-redirect", "oauth2", "tls")
_FOREVER = "1y"
_NO_NAME = re.compile(r"[^-a-zA-Z0-9_. ]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file.

    Attributes:
        health: The section ``health``, as plain data.
        remarks: What was not carried over, with places, in the order of the file.
    """

    health: dict[str, object]
    remarks: tuple[Problem, ...]


def import_gatus(document: Document) -> Imported:
    """Return what a configuration file of Gatus says of checks.

    Args:
        document: The file.
    """
    if not isinstance(document.data, dict):
        remark = document.problem((), "no configuration of Gatus: not a mapping with endpoints")
        return Imported({"checks": []}, (remark,))
    top = Place(document, (), {str(key): value for key, value in document.data.items()})
    for key in top.data:
        if key not in _SILENT:
            top.leave_out(key, why=_NOT_CARRIED.get(key, "not carried over"))
    endpoints, external = top.items("endpoints"), top.items("external-endpoints")
    names = _names((*endpoints, *external))
    defaults = _default_alerts(top)
    found = [
        *(_endpoint(place, names[place.path], defaults) for place in endpoints),
        *(_external(place, names[place.path], defaults) for place in external),
    ]
    checks = [check for check in found if check is not None]
    window = top.inside("maintenance")
    maintenance = {} if window is None else _usable_maintenance(window)
    remarks = sorted(set(top.remarks), key=lambda remark: (remark.line, remark.column))
    return Imported({**maintenance, "checks": checks}, tuple(remarks))


def _names(places: Iterable[Place]) -> dict[tuple[str | int, ...], str]:
    """Return a name for each endpoint: its own, with its group where two have the same."""
    given = [(place, place.text("name").strip()) for place in places]
    taken: set[str] = set()
    names: dict[tuple[str | int, ...], str] = {}
    for place, name in given:
        group = place.text("group").strip()
        shared = [each for _, each in given].count(name) > 1
        wanted = f"{group} {name}" if shared and group else name
        fitting = _NO_NAME.sub("-", wanted).lstrip("-_. ")[:120].rstrip() or "endpoint"
        chosen = next(
            candidate
            for number in range(1, len(given) + 2)
            if (candidate := fitting if number == 1 else f"{fitting} {number}") not in taken
        )
        if chosen != name:
            place.remark("name" if name else None, f"the endpoint {name!r} becomes {chosen!r}")
        taken.add(chosen)
        names[place.path] = chosen
    return names


def _default_alerts(top: Place) -> dict[str, Place]:
    """Return what alerts of a kind have where an endpoint leaves it open, by kind."""
    alerting = top.data.get("alerting")
    if not isinstance(alerting, dict):
        return {}
    providers = Place(top.document, (*top.path, "alerting"), alerting, [])
    kinds = ((kind, providers.inside(kind)) for kind in alerting)
    found = ((str(kind), each.inside("default-alert")) for kind, each in kinds if each is not None)
    return {kind: default for kind, default in found if default is not None}


def _endpoint(place: Place, name: str, defaults: Mapping[str, Place]) -> dict[str, object] | None:
    if not place.flag("enabled", default=True):
        place.remark("enabled", f"{name}: not enabled; left out")
        return None
    place.leave_out_others(*_ENDPOINT_KEYS)
    probe = carried_probe(place)
    if probe is None:
        return None
    kind, settings = probe
    check: dict[str, object] = {"name": name, **_common(place, defaults)}
    client = place.inside("client")
    if client is not None:
        client.leave_out_others(*_CLIENT_KEYS)
        timeout = client.duration("timeout")
        if timeout:
            check["timeout"] = timeout
    check[kind] = settings
    conditions = carried_conditions(place, kind)
    if conditions:
        check["conditions"] = conditions
    return _usable(place, check)


def _external(place: Place, name: str, defaults: Mapping[str, Place]) -> dict[str, object] | None:
    if not place.flag("enabled", default=True):
        place.remark("enabled", f"{name}: not enabled; left out")
        return None
    known = ("enabled", "name", "group", "token", "alerts", "maintenance-windows", "heartbeat")
    place.leave_out_others(*known)
    heartbeat = place.inside("heartbeat")
    silence = heartbeat.duration("interval") if heartbeat is not None else ""
    if not silence:
        place.remark(None, f"{name}: without a heartbeat, silence for a year is a failure")
    push = {"token": place.text("token"), "max_silence": silence or _FOREVER}
    place.remark(None, f"{name}: reports go to POST /health/push/{name} now")
    return _usable(place, {"name": name, **_common(place, defaults), "push": push})


def _common(place: Place, defaults: Mapping[str, Place]) -> dict[str, object]:
    """Return what all endpoints have."""
    found: dict[str, object] = {}
    if place.text("group"):
        found["group"] = place.text("group")
    if place.duration("interval"):
        found["interval"] = place.duration("interval")
    listed = [_filled_in(alert, defaults) for alert in place.items("alerts")]
    alerts = [alert for alert in listed if alert.flag("enabled", default=True)]
    if alerts:
        found["failure_threshold"] = min(_count(each, "failure-threshold", 3) for each in alerts)
        found["success_threshold"] = min(_count(each, "success-threshold", 2) for each in alerts)
        kinds = ", ".join(dict.fromkeys(alert.text("type") for alert in alerts))
        place.remark("alerts", f"alerts: the thresholds are kept; {kinds} is up to routes")
    return {**found, **carried_maintenance(place.items("maintenance-windows"))}


def _filled_in(alert: Place, defaults: Mapping[str, Place]) -> Place:
    """Return an alert with what its kind has by default where it says nothing itself."""
    default = defaults.get(alert.text("type"))
    return alert if default is None else replace(alert, data={**default.data, **alert.data})


def _count(place: Place, key: str, default: int) -> int:
    value = place.data.get(key, default)
    return value if isinstance(value, int) and value > 0 else default


def _usable(place: Place, check: dict[str, object]) -> dict[str, object] | None:
    """Return a check that the settings take; None, with remarks, for one that they refuse."""
    try:
        CheckSettings.model_validate(check)
    except ValidationError as error:
        _explain(place, f"{check['name']}: ", error)
        return None
    return check


def _usable_maintenance(place: Place) -> dict[str, object]:
    """Return the common window, if the settings take it."""
    found = carried_maintenance([place])
    try:
        HealthSettings.model_validate(found)
    except ValidationError as error:
        _explain(place, "", error)
        return {}
    return found


def _explain(place: Place, what: str, error: ValidationError) -> None:
    for detail in error.errors(include_url=False, include_input=False):
        where = ".".join(str(step) for step in detail["loc"])
        place.remark(None, f"{what}{where}: {detail['msg']}; left out")
