"""Queries over HTTP: results, parameters and errors as Prometheus has them."""

import pytest

from alerts.series.exemplars import Exemplar
from alerts.series.labels import Labels
from tests.alerts.api.serving import NOW_S, Server, labels

NOW = str(NOW_S)


async def test_a_vector(server: Server):
    """Each sample has its labels, the time of the query and its value as text."""
    data = await server.data("query", ("query", "requests_total"), ("time", f"{NOW}.25"))

    metric = {"__name__": "requests_total", "job": "web"}
    assert data == {
        "resultType": "vector",
        "result": [{"metric": metric, "value": [NOW_S + 0.25, "1000"]}],
    }


async def test_now_is_the_default_time(server: Server):
    """A query without a time is evaluated now, by a form as by an address."""
    expected = {"resultType": "scalar", "result": [NOW_S, "2"]}

    status, body = await server.post("query", ("query", "1+1"))

    assert (status, body) == (200, {"status": "success", "data": expected})
    assert await server.data("query", ("query", "1+1")) == expected


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("0/0", "scalar", "NaN"),
        ("1/0", "scalar", "+Inf"),
        ("-1/0", "scalar", "-Inf"),
        ("1e20", "scalar", "100000000000000000000"),
        ("1e21", "scalar", "1e+21"),
        ("1e-6", "scalar", "0.000001"),
        ("1e-7", "scalar", "1e-07"),
        ("-0", "scalar", "-0"),
        ("0.1+0.2", "scalar", "0.30000000000000004"),
        ('"a\\"b"', "string", 'a"b'),
    ],
)
async def test_numbers_and_texts(server: Server, expression: str, kind: str, value: str):
    """Numbers are printed as Go prints them, texts as they are."""
    data = await server.data("query", ("query", expression))

    assert data == {"resultType": kind, "result": [NOW_S, value]}


async def test_a_range_selector_gives_raw_samples(server: Server):
    """A range vector is a matrix of the samples as they were collected."""
    data = await server.data("query", ("query", 'up{job="db"}[2m]'), ("time", NOW))

    assert data["resultType"] == "matrix"
    assert [series["values"] for series in data["result"]] == [[[NOW_S - 60, "1"], [NOW_S, "1"]]]


async def test_a_range_query(server: Server):
    """Each series has a value at each step, and series come sorted by their labels."""
    data = await server.data(
        "query_range",
        ("query", "up"),
        ("start", "2023-11-14T22:12:20Z"),
        ("end", NOW),
        ("step", "30s"),
    )

    times = [NOW_S - 60, NOW_S - 30, NOW_S]
    assert data == {
        "resultType": "matrix",
        "result": [
            {
                "metric": {"__name__": "up", "instance": "a", "job": "db"},
                "values": [[time, "1"] for time in times],
            },
            {
                "metric": {"__name__": "up", "instance": "b", "job": "web"},
                "values": [[time, "0"] for time in times],
            },
        ],
    }


async def test_a_scalar_over_a_range(server: Server):
    """A scalar becomes one series without labels."""
    data = await server.data(
        "query_range", ("query", "1.5"), ("start", "0"), ("end", "0.5"), ("step", "0.25")
    )

    assert data["result"] == [{"metric": {}, "values": [[0, "1.5"], [0.25, "1.5"], [0.5, "1.5"]]}]


async def test_nothing_found(server: Server):
    """Without a series the result is empty, and a success."""
    assert await server.data("query", ("query", "nothing")) == {
        "resultType": "vector",
        "result": [],
    }


async def test_limits_are_warned_about(server: Server):
    """Of more results than wanted the first are returned, with a warning."""
    span = (("start", NOW), ("end", NOW), ("step", "1"))
    for path, parameters in (("query", ()), ("query_range", span)):
        _, body = await server.get(path, ("query", "up"), ("limit", "1"), *parameters)

        assert len(body["data"]["result"]) == 1
        assert body["warnings"] == ["results truncated due to limit"]


async def test_a_limit_that_is_met_exactly(server: Server):
    """As many results as wanted are no reason to warn."""
    _, body = await server.get("query", ("query", "up"), ("limit", "2"))

    assert len(body["data"]["result"]) == 2
    assert "warnings" not in body


async def test_lookback(server: Server):
    """A lookback of one query decides how old a sample it takes."""
    later = ("time", str(NOW_S + 30))

    found = await server.data("query", ("query", "up"), later, ("lookback_delta", "31s"))
    missed = await server.data("query", ("query", "up"), later, ("lookback_delta", "30"))

    assert (len(found["result"]), len(missed["result"])) == (2, 0)


async def test_eleven_thousand_steps(server: Server):
    """11,000 steps after the first are answered, one more is refused."""
    common = (("query", "1"), ("start", "0"), ("step", "1"))

    data = await server.data("query_range", *common, ("end", "11000.9"))
    refusal = await server.refusal("query_range", *common, ("end", "11001"))

    assert len(data["result"][0]["values"]) == 11_001
    assert refusal == (
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries. "
        "Try decreasing the query resolution (?step=XX)",
    )


@pytest.mark.parametrize(
    ("path", "parameters", "said"),
    [
        ("query", {"query": "sum("}, 'invalid parameter "query"'),
        ("query", {}, 'invalid parameter "query"'),
        ("query", {"query": "1", "time": "tomorrow"}, 'cannot parse "tomorrow" to a valid'),
        ("query", {"query": "1", "time": "1e18"}, "out of range"),
        ("query", {"query": "1", "limit": "-1"}, "limit must be non-negative"),
        ("query", {"query": "1", "limit": "x"}, 'invalid parameter "limit"'),
        ("query", {"query": "1", "timeout": "x"}, 'invalid parameter "timeout"'),
        ("query", {"query": "1", "lookback_delta": "x"}, 'invalid parameter "lookback_delta"'),
        ("query_range", {"query": "1"}, 'invalid parameter "start": cannot parse ""'),
        ("query_range", {"query": "1", "start": "2", "end": "1"}, "must not be before start"),
        ("query_range", {"query": "1", "start": "1", "end": "2"}, 'invalid parameter "step"'),
        (
            "query_range",
            {"query": "1", "start": "1", "end": "2", "step": "0"},
            "zero or negative query resolution step widths are not accepted",
        ),
        (
            "query_range",
            {"query": "up[1m]", "start": "1", "end": "2", "step": "1"},
            'invalid expression type "range vector" for range query',
        ),
        ("query_exemplars", {"query": "1", "start": "2", "end": "1"}, "end timestamp must not"),
    ],
)
async def test_bad_parameters(server: Server, path: str, parameters: dict[str, str], said: str):
    """What cannot be used is bad_data, with the parameter and the reason."""
    status, kind, text = await server.refusal(path, *parameters.items())

    assert (status, kind) == (400, "bad_data")
    assert said in text


async def test_a_query_that_fails_over_its_data(server: Server):
    """A good query that the data makes impossible is an execution error."""
    status, kind, text = await server.refusal("query", ("query", "up + on() up"))

    assert (status, kind) == (422, "execution")
    assert text


async def test_no_time_left(server: Server):
    """A query with a time limit it cannot keep ends as Prometheus ends it."""
    assert await server.refusal("query", ("query", "up"), ("timeout", "0")) == (
        503,
        "timeout",
        "query timed out in expression evaluation",
    )


async def test_exemplars(server: Server):
    """Those of the series a query reads, between two times, as Prometheus writes them."""
    bounds = (("start", f"{NOW}"), ("end", f"{NOW_S + 9}.999"))
    for path, at_s in (("a", 1.5), ("a", 10), ("b", 2)):
        server.store.exemplars.add(
            labels(f"took_bucket;path={path}"),
            Exemplar(Labels({"trace_id": f"t{at_s}"}), 0.25, round((NOW_S + at_s) * 1000)),
        )

    found = await server.data("query_exemplars", ("query", 'sum(took_bucket{path="a"})'), *bounds)

    assert found == [
        {
            "seriesLabels": {"__name__": "took_bucket", "path": "a"},
            "exemplars": [
                {"labels": {"trace_id": "t1.5"}, "value": "0.25", "timestamp": NOW_S + 1.5}
            ],
        }
    ]
    assert await server.data("query_exemplars", ("query", "up"), *bounds) == []


async def test_stats_are_ignored(server: Server):
    """A client that asks for statistics gets its result all the same."""
    data = await server.data("query", ("query", "1"), ("stats", "all"))

    assert set(data) == {"resultType", "result"}


async def test_a_form_goes_before_the_address(server: Server):
    """Parameters of a form win over those of the address, which are read as well."""
    url = f"{server.url}/api/v1/query?query=2&time=5"
    async with server.http.post(url, data={"query": "1"}) as answer:
        body = await answer.json()

    assert body["data"]["result"] == [5, "1"]
