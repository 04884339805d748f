"""Metrics of other services over HTTP: what becomes of them, and of what is no metric."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.series.labels import Labels
from alerts.series.limits import Limits
from alerts.series.store import SeriesStore
from service.config.telemetry_settings import ReceiverSettings
from service.receiving.receiver import Receiver
from tests.support.otlp_sending import (
    JSON,
    PROTOBUF,
    Request,
    Response,
    counter,
    gauge,
    histogram,
    post,
    request_of,
)
from tests.support.process import eventually

NOW_S = 1_700_000_000.0
NOW_MS = 1_700_000_000_000


@dataclass
class House:
    """A receiver on a port, and the store behind it."""

    url: str
    store: SeriesStore
    receiver: Receiver
    clock: ManualClock
    ready: list[bool] = field(default_factory=lambda: [True])

    async def send(self, *metrics: metrics_pb2.Metric, **resource: Any) -> tuple[int, str]:
        """Send metrics of the service ``shop`` and return what the partial success says."""
        status, _, body = await post(self.url, request_of(*metrics, **resource))
        assert status == 200
        answer = Response.FromString(body).partial_success
        return answer.rejected_data_points, answer.error_message

    async def reading(self, requests: int) -> None:
        """Wait until so many requests are waited for."""

        async def are_there() -> bool:
            return len(self.clock._timers) >= requests

        await eventually(are_there, what=f"{requests} requests")

    def now(self, expression: str, at_ms: int = NOW_MS) -> dict[Labels, float]:
        """Evaluate as a rule does."""
        engine = Engine(self.store)
        return dict(engine.instant_vector(engine.prepare(expression), at_ms))


@asynccontextmanager
async def house(limits: Limits | None = None, **settings: Any) -> AsyncIterator[House]:
    clock = ManualClock(NOW_S)
    store = SeriesStore(clock=clock, retention_s=3600, limits=limits or Limits())
    ready = [True]
    receiver = Receiver(
        ReceiverSettings.model_validate(settings),
        store=store,
        retention_s=3600,
        clock=clock,
        own=Labels({"job": "gatewatch", "instance": "here:8000"}),
        is_ready=lambda: ready[0],
    )
    async with receiver:
        app = web.Application(client_max_size=1)
        app.router.add_routes(receiver.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/metrics"
        yield House(url, store, receiver, clock, ready)
        await runner.cleanup()


def series(name: str, **labels: str) -> Labels:
    """Return a series of the service that sends."""
    return Labels({"__name__": name, "job": "shop", "instance": "1", **labels})


async def test_metrics_have_the_names_prometheus_gives_them():
    """Counters, gauges and histograms become the series a scrape would have made of them."""
    async with house() as receiving:
        refused = await receiving.send(
            counter("orders.placed", 7, NOW_MS, "{order}", **{"shop.region": "eu"}),
            gauge("queue.age", 2.5, NOW_MS, "s", full=True),
            histogram("answer.time", [0.5, 1], [3, 2, 1], NOW_MS),
        )

        assert refused == (0, "")
        assert receiving.now("{job='shop'}") == {
            series("orders_placed_total", shop_region="eu"): 7,
            series("queue_age_seconds", full="true"): 2.5,
            series("answer_time_seconds_bucket", le="0.5"): 3,
            series("answer_time_seconds_bucket", le="1.0"): 5,
            series("answer_time_seconds_bucket", le="+Inf"): 6,
            series("answer_time_seconds_sum"): 1.5,
            series("answer_time_seconds_count"): 6,
            series("target_info"): 1,
        }
        assert (receiving.receiver.stats.requests, receiving.receiver.stats.points) == (1, 3)
        assert (receiving.receiver.services, receiving.receiver.series) == (1, 8)


async def test_a_service_becomes_job_and_instance():
    """What else is known of it is in target_info; labels of those names are kept aside."""
    async with house() as receiving:
        await receiving.send(
            gauge("size", 1, NOW_MS, job="mine", instance="x"),
            **{"service.namespace": "market", "host.name": "h1"},
        )

        target = {"job": "market/shop", "instance": "1"}
        size = {"__name__": "size", "exported_job": "mine", "exported_instance": "x", **target}
        info = {"__name__": "target_info", "host_name": "h1", **target}
        assert receiving.now("{instance='1'}") == {Labels(size): 1, Labels(info): 1}


async def test_json_is_taken_as_well():
    """Ids in hexadecimal, whole numbers as text, enumerations as numbers; the unknown ignored."""
    document = {
        "resourceMetrics": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]
                },
                "scopeMetrics": [
                    {
                        "scope": {"name": "x", "someday": [1]},
                        "metrics": [
                            {
                                "name": "orders",
                                "sum": {
                                    "aggregationTemporality": 2,
                                    "isMonotonic": True,
                                    "dataPoints": [
                                        {
                                            "asInt": "9007199254740993",
                                            "timeUnixNano": str(NOW_MS * 1_000_000),
                                            "exemplars": [
                                                {
                                                    "asInt": "3",
                                                    "timeUnixNano": str(NOW_MS * 1_000_000),
                                                    "traceId": "0af7651916cd43dd8448eb211c80319c",
                                                    "spanId": "b7ad6b7169203331",
                                                }
                                            ],
                                        }
                                    ],
                                },
                            }
                        ],
                    }
                ],
            }
        ]
    }
    async with house() as receiving:
        status, headers, body = await post(
            receiving.url,
            json.dumps(document).encode(),
            content_type="application/json; charset=utf-8",
        )

        assert (status, headers["Content-Type"], body) == (200, JSON, b"{}")
        name = Labels({"__name__": "orders_total", "job": "s"})
        assert receiving.now("orders_total") == {name: float(9007199254740993)}
        ((labels, (exemplar,)),) = receiving.store.exemplars.select([()], 0, NOW_MS)
        assert labels == name
        assert exemplar.labels["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_the_two_encodings_say_the_same():
    """What is in a request as protobuf is in it as JSON, compressed or not."""
    request = request_of(
        counter("a", 1, NOW_MS),
        gauge("b", float("nan"), NOW_MS),
        histogram("c", [1], [1, 2], NOW_MS),
    )
    found = []
    for content_type, body in (
        (PROTOBUF, request.SerializeToString()),
        (JSON, json_format.MessageToJson(request).encode()),
    ):
        for compression, sent in (("identity", body), ("gzip", gzip.compress(body))):
            async with house() as receiving:
                answer = await post(
                    receiving.url, sent, content_type=content_type, Content_Encoding=compression
                )
                assert answer[0] == 200, answer
                found.append(sorted(map(repr, receiving.now("{job='shop'}").items())))

    assert len(found[0]) == 7
    assert all(each == found[0] for each in found)


async def test_exemplars_find_their_buckets():
    """Each belongs to the bucket its measurement fell into."""
    metric = histogram("answer.time", [0.5, 1], [3, 2, 1], NOW_MS)
    for value in (0.1, 0.7, 9.0):
        metric.histogram.data_points[0].exemplars.add(
            as_double=value,
            time_unix_nano=NOW_MS * 1_000_000,
            trace_id=b"\1" * 16,
            span_id=b"\2" * 8,
        )
    metric.histogram.data_points[0].exemplars.add(as_double=1.0)
    async with house() as receiving:
        await receiving.send(metric)

        found = receiving.store.exemplars.select([()], 0, NOW_MS)
        assert {labels["le"]: exemplars[0].value for labels, exemplars in found} == {
            "0.5": 0.1,
            "1.0": 0.7,
            "+Inf": 9.0,
        }


async def test_a_summary_becomes_quantiles():
    """With its sum and count."""
    metric = metrics_pb2.Metric(name="wait")
    point = metric.summary.data_points.add(count=4, sum=2.0, time_unix_nano=NOW_MS * 1_000_000)
    point.quantile_values.add(quantile=0.5, value=0.25)
    async with house() as receiving:
        assert await receiving.send(metric) == (0, "")

        assert receiving.now("{__name__=~'wait.*'}") == {
            series("wait", quantile="0.5"): 0.25,
            series("wait_sum"): 2.0,
            series("wait_count"): 4.0,
        }


def delta(name: str) -> metrics_pb2.Metric:
    metric = counter(name, 1, NOW_MS)
    metric.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
    return metric


def exponential(name: str) -> metrics_pb2.Metric:
    metric = metrics_pb2.Metric(name=name)
    metric.exponential_histogram.data_points.add(count=1, time_unix_nano=NOW_MS * 1_000_000)
    return metric


def valueless(name: str) -> metrics_pb2.Metric:
    metric = gauge(name, 1, NOW_MS)
    metric.gauge.data_points[0].ClearField("as_double")
    return metric


def nested(name: str) -> metrics_pb2.Metric:
    value = AnyValue(string_value="x")
    for _ in range(20):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    metric = gauge(name, 1, NOW_MS)
    metric.gauge.data_points[0].attributes.add(key="deep").value.CopyFrom(value)
    return metric


def wide(name: str) -> metrics_pb2.Metric:
    return gauge(name, 1, NOW_MS, **{f"a{number}": "x" for number in range(65)})


REFUSED = {
    "delta_temporality": (delta, "cumulative"),
    "exponential_histogram": (exponential, "explicit buckets"),
    "no_data": (lambda name: metrics_pb2.Metric(name=name), ""),
    "no_value": (valueless, "no value"),
    "bad_buckets": (lambda name: histogram(name, [2, 1], [1, 1, 1], NOW_MS), "numbers that ascend"),
    "too_many_buckets": (
        lambda name: histogram(name, range(501), [0] * 502, NOW_MS),
        "500 buckets",
    ),
    "bad_name": (lambda name: gauge(name * 99, 1, NOW_MS), "at most 255 characters"),
    "too_many_attributes": (wide, "max_attributes"),
    "too_long_attribute": (
        lambda name: gauge(name, 1, NOW_MS, long="x" * 1025),
        "max_attribute_length",
    ),
    "out_of_bounds": (lambda name: gauge(name, 1, NOW_MS + 61_000), "60 seconds ahead"),
}


@pytest.mark.parametrize("bounds", [[math.nan], [1, math.inf], [math.nan, 1]], ids=str)
async def test_a_bound_that_is_no_number_makes_no_bucket(bounds: list[float]):
    """It would be a second bucket for +Inf, or one that nothing can be less than."""
    async with house() as receiving:
        counts = [1] * (len(bounds) + 1)
        refused, message = await receiving.send(histogram("odd", bounds, counts, NOW_MS))

        assert (refused, "bounds are numbers" in message) == (1, True)
        assert receiving.now("odd_seconds_bucket") == {}


@pytest.mark.parametrize("reason", sorted(REFUSED))
async def test_what_cannot_be_taken_is_said_and_the_rest_is_taken(reason: str):
    """The answer counts the data points and explains; the metrics tell why."""
    make, explanation = REFUSED[reason]
    async with house() as receiving:
        refused, message = await receiving.send(make("odd"), gauge("fine", 1, NOW_MS))

        assert refused == (1 if explanation else 0)  # a metric without data has no points
        assert explanation in message
        assert not refused or message.startswith("1 of odd")
        assert receiving.now("fine") == {series("fine"): 1}
        assert receiving.receiver.stats.points_refused == ({reason.strip(): 1} if refused else {})


async def test_a_name_of_which_nothing_is_left_is_none():
    """A series has a name; that of a counter would be its ending alone."""
    async with house() as receiving:
        refused, message = await receiving.send(gauge("..", 1, NOW_MS), counter("_", 1, NOW_MS))

        assert (refused, "a letter or a digit" in message) == (2, True)
        assert receiving.store.series_count == 0


async def test_attributes_that_nest_are_shown_as_json_unless_they_nest_deeply():
    """Lists and mappings become text; what nests too deep is refused."""
    metric = gauge("size", 1, NOW_MS)
    value = metric.gauge.data_points[0].attributes.add(key="tags").value
    value.array_value.values.add(string_value="a")
    value.array_value.values.add(int_value=2)
    pair = KeyValue(key="k", value=AnyValue(bytes_value=b"x"))
    metric.gauge.data_points[0].attributes.add(key="map").value.kvlist_value.values.append(pair)
    async with house() as receiving:
        refused, message = await receiving.send(metric, nested("deep"))

        assert receiving.now("size") == {series("size", tags='["a", 2]', map='{"k": "eA=="}'): 1}
        assert (refused, "holds too much" in message) == (1, True)


async def test_what_the_process_knows_of_itself_is_left_aside():
    """A collector that sends everything back brings no errors, and nobody can pose as the process.

    A series that is somebody else's would keep the process's own from being stored.
    """
    async with house() as receiving:
        sent = gauge("gateway.connections", 7, NOW_MS), counter("gateway.new", 1, NOW_MS)

        answer = await receiving.send(*sent, service="gatewatch", instance="here:8000")

        assert answer == (0, "")
        assert receiving.store.series_count == 0
        stats = receiving.receiver.stats
        assert (stats.points, stats.points_refused) == (0, {"own_series": 2})
        await receiving.send(*sent, service="gatewatch", instance="there:8000")
        assert (stats.points, stats.points_refused) == (2, {"own_series": 2})


async def test_a_series_has_one_sample_of_a_time():
    """A sample that comes twice is a duplicate, one that is older out of order."""
    async with house() as receiving:
        await receiving.send(counter("a", 5, NOW_MS))

        assert (await receiving.send(counter("a", 5, NOW_MS)))[0] == 1
        assert (await receiving.send(counter("a", 4, NOW_MS - 1)))[0] == 1
        assert receiving.receiver.stats.points_refused == {"duplicate": 1, "out_of_order": 1}
        assert receiving.now("count_over_time(a_total[1m])") == {
            Labels({"job": "shop", "instance": "1"}): 1
        }


async def test_parts_of_a_collection_may_come_in_any_order():
    """A collector splits what it forwards: no part ends the series of another or is refused."""
    async with house() as receiving:
        assert (await receiving.send(gauge("a", 1, NOW_MS)))[0] == 0
        assert (await receiving.send(gauge("b", 2, NOW_MS)))[0] == 0
        assert (await receiving.send(gauge("c", 3, NOW_MS - 4900)))[0] == 0

        found = receiving.now("{__name__=~'a|b|c'}", NOW_MS + 10)
        assert sorted(found.values()) == [1, 2, 3]
        assert (await receiving.send(gauge("d", 4, NOW_MS - 6000)))[0] == 1


async def test_several_collections_come_in_one_request():
    """A sender that was cut off sends what it kept: every sample has its own time."""
    async with house() as receiving:
        request = request_of(*(counter("a", count, NOW_MS + count * 100) for count in (3, 1, 2)))
        assert (await post(receiving.url, request))[0] == 200

        window = receiving.now("count_over_time(a_total[1m])", NOW_MS + 1000)
        assert list(window.values()) == [3]


async def test_a_series_ends_with_its_flag_or_when_it_is_quiet():
    """No recorded value ends it at once, silence after the lookback of five minutes."""
    async with house() as receiving:
        await receiving.send(
            gauge("a", 1, NOW_MS), gauge("b", 1, NOW_MS), histogram("h", [1], [1, 1], NOW_MS)
        )
        ending = [gauge("a", 0, NOW_MS + 1000), histogram("h", [], [], NOW_MS + 1000)]
        ending[0].gauge.data_points[0].flags = 1
        ending[1].histogram.data_points[0].flags = 1

        assert await receiving.send(*ending) == (0, "")

        left = receiving.now("{job='shop',__name__!='target_info'}", NOW_MS + 1000)
        assert set(left) == {series("b")}
        assert receiving.now("b", NOW_MS + 300_000) == {}
        await receiving.clock.advance(400)
        await receiving.send(gauge("c", 1, NOW_MS + 400_000))
        assert receiving.receiver.series == 2  # and target_info


async def test_new_series_stop_at_the_limit_and_those_that_are_there_go_on():
    """The receiver's own limit leaves the store room for the process's own series."""
    async with house(max_series=3) as receiving:
        refused, message = await receiving.send(*(gauge(name, 1, NOW_MS) for name in "abcd"))
        assert (refused, "max_series" in message) == (1, True)

        assert (await receiving.send(gauge("a", 2, NOW_MS + 1)))[0] == 0


async def test_what_is_said_of_a_service_counts_as_well():
    """An attribute of the service that is new each time makes no series without end."""
    async with house(max_series=3) as receiving:
        for number in range(5):
            refused, _ = await receiving.send(
                gauge("a", number, NOW_MS + number), **{"host.name": f"host-{number}"}
            )
            assert refused == 0

        assert receiving.store.series_count == 3


async def test_the_limit_of_the_store_counts_as_well():
    """What the store refuses is a refused data point."""
    async with house(Limits(max_series=2)) as receiving:
        refused, _ = await receiving.send(*(gauge(name, 1, NOW_MS) for name in "abc"))

        assert refused == 1
        assert receiving.receiver.stats.points_refused == {"series_limit": 1}


def bomb() -> bytes:
    """Return 64 MiB of zeros, compressed."""
    packer = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    return b"".join([*(packer.compress(zeros) for _ in range(64)), packer.flush()])


BAD_BODIES = {
    "truncated protobuf": (400, request_of(gauge("a", 1, NOW_MS)).SerializeToString()[:-3], {}),
    "text": (400, b"hello, this is no protobuf", {}),
    "deep protobuf": (400, None, {}),
    "broken JSON": (400, b'{"resourceMetrics": [', {"content_type": JSON}),
    "a JSON list": (400, b"[]", {"content_type": JSON}),
    "JSON of other types": (400, b'{"resourceMetrics": [{"resource": 7}]}', {"content_type": JSON}),
    "deep JSON": (400, b'{"resourceMetrics":' + b"[" * 5000, {"content_type": JSON}),
    "too many values": (413, b'{"resourceMetrics":[' + b"{}," * 600_000, {"content_type": JSON}),
    "too large": (413, bytes(5 << 20), {}),
    "no gzip": (400, b"hello", {"Content_Encoding": "gzip"}),
    "unknown compression": (415, b"", {"Content_Encoding": "snappy"}),
    "unknown type": (415, b"a 1", {"content_type": "text/plain"}),
}


@pytest.mark.parametrize("name", sorted(BAD_BODIES))
async def test_a_bad_body_is_refused_with_a_status_in_its_own_encoding(name: str):
    """Nothing of it is taken, and the next request is served."""
    status, body, more = BAD_BODIES[name]
    async with house() as receiving:
        found, headers, answer = await post(
            receiving.url, deep_protobuf() if body is None else body, **more
        )

        assert found == status, answer
        if headers["Content-Type"] == JSON:
            assert json.loads(answer)["message"]
        else:
            assert headers["Content-Type"] == PROTOBUF
            assert Status.FromString(answer).message
        assert receiving.receiver.stats.requests_refused.total() == 1
        assert await receiving.send(gauge("a", 1, NOW_MS)) == (0, "")


def deep_protobuf() -> bytes:
    """Return an attribute in a list in a list, two hundred times: deeper than is read."""
    inner = AnyValue(string_value="x").SerializeToString()
    for _ in range(200):
        listed = field_of(1, inner)  # ArrayValue.values
        inner = field_of(5, listed)  # AnyValue.array_value
    attribute = field_of(1, b"k") + field_of(2, inner)
    return field_of(1, field_of(1, field_of(1, attribute)))


def field_of(number: int, content: bytes) -> bytes:
    """Return a field of protobuf that holds bytes."""
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content


async def test_a_gzip_bomb_ends_at_the_limit():
    """What unpacks to a thousand times its size is cut off, and its connection with it."""
    async with house() as receiving:
        status, headers, _ = await post(receiving.url, bomb(), Content_Encoding="gzip")

        assert (status, headers["Connection"]) == (413, "close")
        assert receiving.receiver.stats.requests_refused == {"too_large": 1}


async def test_attributes_without_end_cost_one_data_point():
    """Millions of attributes fit into a body; the data point that has them is refused."""
    metric = gauge("a", 1, NOW_MS)
    empty = field_of(7, b"")  # NumberDataPoint.attributes
    point = metric.gauge.data_points[0].SerializeToString() + empty * 1_000_000
    body = field_of(
        1, field_of(2, field_of(2, field_of(1, b"a") + field_of(5, field_of(1, point))))
    )
    async with house() as receiving:
        status, _, answer = await post(receiving.url, body)

        assert status == 200
        assert Response.FromString(answer).partial_success.rejected_data_points == 1
        assert receiving.receiver.stats.points_refused == {"too_many_attributes": 1}


async def test_too_many_data_points_are_refused_as_a_whole():
    """The sender is told to send smaller batches."""
    async with house(max_data_points=2) as receiving:
        request = request_of(*(gauge(name, 1, NOW_MS) for name in "abc"))

        status, _, answer = await post(receiving.url, request)

        assert status == 413
        assert "3 data points" in Status.FromString(answer).message
        assert receiving.store.series_count == 0


@pytest.mark.parametrize("part", ["resources", "scopes", "metrics"])
async def test_a_body_of_nothing_but_empty_parts_is_refused_as_a_whole(part: str):
    """Two bytes each, they would keep the receiver busy for minutes without one data point."""
    async with house(max_data_points=100) as receiving:
        request = Request()
        for _ in range(301):
            if part == "resources" or not request.resource_metrics:
                request.resource_metrics.add()
            if part == "scopes" or not request.resource_metrics[0].scope_metrics:
                request.resource_metrics[0].scope_metrics.add()
            if part == "metrics":
                request.resource_metrics[0].scope_metrics[0].metrics.add()

        status, _, body = await post(receiving.url, request)

        assert status == 413
        assert "max_data_points" in Status.FromString(body).message


async def test_a_body_that_does_not_come_is_given_up():
    """A sender that stops in the middle holds its place for ten seconds."""
    async with house() as receiving:
        host, port = receiving.url.removeprefix("http://").split("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            b"Content-Type: application/x-protobuf\r\n\r\nabc"
        )
        await receiving.reading(1)
        await receiving.clock.advance(10)

        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_a_receiver_that_is_busy_or_starting_asks_to_come_again():
    """503 with Retry-After, which senders obey."""
    async with house() as receiving:
        receiving.ready[0] = False
        assert receiving.receiver.stats.requests == 0

        status, headers, _ = await post(receiving.url, request_of(gauge("a", 1, NOW_MS)))

        assert (status, headers["Retry-After"]) == (503, "1")
        receiving.ready[0] = True
        waiting = [await stalled(receiving.url) for _ in range(8)]
        await receiving.reading(8)
        status, headers, _ = await post(receiving.url, request_of(gauge("a", 1, NOW_MS)))
        assert (status, headers["Retry-After"]) == (503, "1")
        assert receiving.receiver.stats.requests_refused == {"starting": 1, "overloaded": 1}
        for writer in waiting:
            writer.close()
            await writer.wait_closed()


async def stalled(url: str) -> asyncio.StreamWriter:
    """Begin a request whose body does not come."""
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b"Content-Type: application/x-protobuf\r\n\r\n"
    )
    return writer


async def test_it_can_be_switched_off():
    """Then there is nothing at its path."""
    async with house(enabled=False) as receiving:
        assert (await post(receiving.url, Request()))[0] == 404
