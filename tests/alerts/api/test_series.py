"""Series, labels and metadata over HTTP."""

import pytest

from tests.alerts.api.serving import NOW_S, Server

A = {"__name__": "up", "instance": "a", "job": "db"}
B = {"__name__": "up", "instance": "b", "job": "web"}
REQUESTS = {"__name__": "requests_total", "job": "web"}


async def test_series(server: Server):
    """What any selector takes is listed once, sorted, by address or form."""
    selectors = (("match[]", "up"), ("match[]", '{job="web"}'))

    assert await server.data("series", *selectors) == [REQUESTS, A, B]
    assert (await server.post("series", *selectors))[1]["data"] == [REQUESTS, A, B]


@pytest.mark.parametrize(
    ("start_s", "end_s", "found"), [(-90, -30, 2), (0, 50, 2), (1, 50, 0), (-500, -121, 0)]
)
async def test_series_of_a_time_range(server: Server, start_s: int, end_s: int, found: int):
    """Only series with a sample in the time range are listed."""
    listed = await server.data(
        "series",
        ("match[]", "up"),
        ("start", str(NOW_S + start_s)),
        ("end", str(NOW_S + end_s)),
    )

    assert len(listed) == found


async def test_the_ends_of_time(server: Server):
    """The bounds that clients send for "all of it" are taken for that."""
    bounds = (("start", "-9223309901257974.999"), ("end", "9223309901257974.999"))

    assert await server.data("series", ("match[]", "up"), *bounds) == [A, B]


async def test_labels(server: Server):
    """Label names come sorted, of all series or of those that are selected."""
    assert await server.data("labels") == ["__name__", "instance", "job"]
    assert await server.data("labels", ("match[]", "requests_total")) == ["__name__", "job"]
    assert (await server.post("labels"))[1]["data"] == ["__name__", "instance", "job"]


@pytest.mark.parametrize(
    ("path", "selectors", "values"),
    [
        ("label/__name__/values", [], ["requests_total", "up"]),
        ("label/job/values", ['up{instance="a"}'], ["db"]),
        ("label/job/values", ['up{instance="a"}', "requests_total"], ["db", "web"]),
        ("label/instance/values", ["requests_total"], []),
        ("label/nothing/values", [], []),
        ("label/U__job/values", [], ["db", "web"]),
        ("label/U__http_2e_method/values", [], ["GET"]),
    ],
)
async def test_label_values(server: Server, path: str, selectors: list[str], values: list[str]):
    """Values come sorted; names that are no plain words are escaped in the address."""
    server.append(0, {"dotted;http.method=GET": 1}, source="other")

    found = await server.data(path, *(("match[]", selector) for selector in selectors))

    assert [value for value in found if value != "dotted"] == values


@pytest.mark.parametrize("path", ["labels", "label/__name__/values", "series"])
async def test_limits(server: Server, path: str):
    """Of more than wanted the first are listed, with a warning."""
    selector = ("match[]", '{job=~".+"}')

    _, cut = await server.get(path, selector, ("limit", "1"))
    _, whole = await server.get(path, selector, ("limit", "3"))

    assert (len(cut["data"]), cut["warnings"]) == (1, ["results truncated due to limit"])
    assert "warnings" not in whole


@pytest.mark.parametrize(
    ("path", "parameters", "said"),
    [
        ("series", [], "no match[] parameter provided"),
        ("series", [("match[]", "")], 'invalid parameter "match[]"'),
        ("series", [("match[]", '{job=~".*"}')], 'invalid parameter "match[]"'),
        ("series", [("match[]", "sum(up)")], "no series selector"),
        ("series", [("match[]", "up offset 5m")], "no series selector"),
        ("series", [("match[]", "up or up")], "no series selector"),
        ("labels", [("match[]", "up[5m]")], "no series selector"),
        ("labels", [("start", "x")], "Invalid time value for 'start'"),
        ("label/job/values", [("end", "x")], "Invalid time value for 'end'"),
        ("metadata", [("limit", "x")], "limit must be a number"),
        ("status/tsdb", [("limit", "0")], "limit must be between 1 and 10000"),
    ],
)
async def test_bad_parameters(
    server: Server, path: str, parameters: list[tuple[str, str]], said: str
):
    """What cannot be used is bad_data, with the reason."""
    status, kind, text = await server.refusal(path, *parameters)

    assert (status, kind) == (400, "bad_data")
    assert said in text


async def test_metadata(server: Server):
    """What is known of a metric is listed by name, each thing once."""
    answers = {"type": "gauge", "help": "Whether it answers.", "unit": ""}
    is_there = {"type": "gauge", "help": "Whether it is there.", "unit": ""}
    requests = {"type": "counter", "help": "Requests.", "unit": "requests"}

    assert await server.data("metadata") == {
        "requests_total": [requests],
        "up": [answers, is_there],
    }
    assert await server.data("metadata", ("metric", "up"), ("limit_per_metric", "1")) == {
        "up": [answers]
    }
    assert await server.data("metadata", ("limit", "1")) == {"requests_total": [requests]}
    assert await server.data("metadata", ("metric", "nothing")) == {}


async def test_statistics(server: Server):
    """The names and labels with most series come first."""
    data = await server.data("status/tsdb", ("limit", "1"))

    assert data["headStats"] == {"numSeries": 3, "numLabelPairs": 6}
    assert data["seriesCountByMetricName"] == [{"name": "up", "value": 2}]
    assert data["labelValueCountByLabelName"] == [{"name": "__name__", "value": 2}]
    assert data["seriesCountByLabelValuePair"] == [{"name": "__name__=up", "value": 2}]
