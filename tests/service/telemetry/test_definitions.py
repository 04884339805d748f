"""The definitions of the metrics."""

import importlib
import pkgutil

from alerts.telemetry import InstrumentDefinition
from service.telemetry import definitions


def test_no_definition_is_left_out():
    """What a module of an area defines is in its tuple, and in that of all areas."""
    defined = [
        value
        for module in pkgutil.iter_modules(definitions.__path__, f"{definitions.__name__}.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, InstrumentDefinition)
    ]

    assert {each.name for each in defined} == {each.name for each in definitions.DEFINITIONS}
    assert len(defined) == len(definitions.DEFINITIONS)
