"""Maintenance windows of Gatus: a time of day, on some weekdays or all."""

from __future__ import annotations

from collections.abc import Iterable

from service.health.gatus.remarks import Place

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def carried_maintenance(places: Iterable[Place]) -> dict[str, object]:
    """Return the windows that are enabled, under the key that sections have for them.

    In Gatus checks run on in a window and nobody is told, as here.
    """
    found = [_window(place) for place in places if place.flag("enabled", default=True)]
    windows = [window for window in found if window is not None]
    return {"maintenance": windows} if windows else {}


def _window(place: Place) -> dict[str, object] | None:
    place.leave_out_others("enabled", "start", "duration", "timezone", "every")
    start, duration = _time_of_day(place), place.duration("duration")
    if not start or not duration:
        place.remark(None, "a window needs start and duration; left out")
        return None
    listed = place.data.get("every")
    days = [str(day).lower() for day in listed] if isinstance(listed, list) else []
    if not set(days) <= set(_DAYS):
        place.remark("every", "every names a day that is none; the window is left out")
        return None
    when = {"weekly": f"{','.join(day[:3] for day in days)} {start}"} if days else {"daily": start}
    zone = place.text("timezone")
    return {**when, "duration": duration, **({"time_zone": zone} if zone else {})}


def _time_of_day(place: Place) -> str:
    """Return when a window starts: YAML reads ``23:00`` as the number of minutes it has."""
    start = place.data.get("start")
    if isinstance(start, int) and not isinstance(start, bool):
        written = place.document.texts[*place.path, "start"]
        return f"{start // 60:02}:{start % 60:02}" if ":" in written else ""
    return place.text("start")
