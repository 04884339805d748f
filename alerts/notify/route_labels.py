"""The labels of a route, which are templates over what is told and may mention each other.

Source: Alertmanager, template/template.go (routeLabelResolver).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Final

from alerts.notify.template_data import TemplateData
from alerts.notify.templates import Moment, TemplateLibrary, Text
from alerts.series.labels import Labels
from alerts.templates.errors import TemplateError
from alerts.templates.values import STRING, Function

_LOG: Final = logging.getLogger(__name__)


def with_route_labels(data: TemplateData, library: TemplateLibrary, moment: Moment) -> TemplateData:
    """Return data whose route labels are expanded; one that cannot be is left out, and logged.

    Args:
        data: What is told.
        library: The named templates.
        moment: When.
    """
    notification = data.notification
    if not any("{{" in text for text in notification.route_labels.values()):
        return data
    resolver = _Resolver(data, library, moment)
    expanded: dict[str, str] = {}
    for name in notification.route_labels:
        try:
            expanded[name] = resolver.resolve(name)
        except (TemplateError, ValueError) as error:
            _LOG.error("the label %s of a route cannot be made: %s", name, error)
    told = replace(notification, route_labels=Labels(expanded))
    return TemplateData(told, data.alerts, data.external_url)


@dataclass(slots=True)
class _Resolver:
    data: TemplateData
    library: TemplateLibrary
    moment: Moment
    known: dict[str, str] = field(default_factory=dict)
    around: list[str] = field(default_factory=list)

    def resolve(self, name: str) -> str:
        """Return a label; raises ValueError when it comes out of itself."""
        source = self.data.notification.route_labels.get(name, "")
        if name in self.known or "{{" not in source:
            return self.known.get(name, source)
        if name in self.around:
            way = " -> ".join([*self.around, name])
            raise ValueError(f"route label cycle detected: {way}")
        self.around.append(name)
        try:
            moment = replace(
                self.moment, functions={"routeLabels": Function(self.resolve, (STRING,))}
            )
            self.known[name] = self.library.expand(Text.parse(source), self.data, moment)
        finally:
            self.around.pop()
        return self.known[name]
