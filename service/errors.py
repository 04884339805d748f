"""Errors of the service.

GatewatchError
├── ConfigurationError     settings that cannot be used, with every problem and its place
├── StartError             a part that cannot start, such as a port that is taken
├── StopError              parts that did not stop properly, or not in time
├── JSONError              service.codec: bytes that are not JSON, values that have no JSON form
├── GatewayError           service.gateway.codes: protocol errors and disconnects
├── CommandError           service.gateway.redis.link: a command that Redis did not execute
├── BatcherError           service.gateway.batcher: a full or closed batcher
├── PoolError              service.pools: a pool that is full or closed, a request without answer
├── JobError               service.jobs: an unknown or busy job
├── UnknownCheckError      service.health.monitor
├── NoSuchCheckError       service.health.command: checks were asked for that are not there
├── ConditionError         service.health.conditions: a text that is no condition
├── ProbeError             service.health.probes.run: what ends a run of a probe
├── QueryError             service.cli.query: a query that was not answered with data
└── DemoError              service.demo: something the tour waited for did not happen

Subclasses live beside the code that raises them and carry their data as attributes.
"""

from __future__ import annotations

from collections.abc import Callable

from alerts.errors import Problem


class GatewatchError(Exception):
    """Base of every error the service raises on purpose."""


class ConfigurationError(GatewatchError):
    """Settings that cannot be used; every problem that could be found is listed.

    Attributes:
        problems: At least one, sorted by place.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def located(self, locate: Callable[[Problem], Problem]) -> ConfigurationError:
        """Return the same error with the place of each problem, as far as it can be told."""
        return ConfigurationError([locate(problem) for problem in self.problems])


class StopError(GatewatchError):
    """The process stopped, but not every part of it did so properly; says which and why."""


class StartError(GatewatchError):
    """A part of the process that cannot start; says which, why, and what to change."""
