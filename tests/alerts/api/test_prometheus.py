"""The API as its clients use it, and as nobody should."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.alerts.api.serving import MAX_BODY_BYTES, NOW_S, Server, serving

PATHS = (
    "query",
    "query_range",
    "query_exemplars",
    "series",
    "labels",
    "label/job/values",
    "metadata",
    "rules",
    "alerts",
    "status/tsdb",
)
FORMS = ("query", "query_range", "query_exemplars", "series", "labels")
NAMES = (
    *("query", "time", "start", "end", "step", "timeout", "limit", "lookback_delta", "match[]"),
    *("type", "rule_name[]", "file[]", "exclude_alerts", "group_limit", "group_next_token"),
    *("limit_per_metric", "metric", "stats"),
)
LIKELY = ("up", '{job=~".*b"}', "sum(up)", "1", "0", "-1", "1e5", "true", "5m", str(NOW_S))
VALUES = (
    st.sampled_from(LIKELY).map(quote)
    | st.text(max_size=20).map(quote)
    | st.binary(max_size=8).map(quote_from_bytes)
    | st.floats().map(str).map(quote)
)


async def test_grafana_takes_the_server_for_a_prometheus(server: Server):
    """What Grafana asks to check a data source and to fill its editor is answered."""
    sum_of_two = await server.post("query", ("query", "1+1"), ("time", f"{NOW_S}"))
    build = await server.data("status/buildinfo")
    window = (("start", str(NOW_S - 3600)), ("end", str(NOW_S)))
    _, labels = await server.post("labels", ("match[]", "up"), *window)
    _, series = await server.post("series", ("match[]", '{__name__="up"}'), *window)
    names = await server.data("label/__name__/values", *window)
    rules = await server.data("rules")
    _, graph = await server.post(
        "query_range", ("query", "rate(requests_total[5m])"), *window, ("step", "15")
    )

    assert sum_of_two[1]["data"] == {"resultType": "scalar", "result": [NOW_S, "2"]}
    assert "features" not in build
    assert build["version"].startswith("3.")
    assert labels["data"] == ["__name__", "instance", "job"]
    assert len(series["data"]) == 2
    assert names == ["requests_total", "up"]
    assert len(rules["groups"]) == 2
    assert graph["data"]["result"][0]["metric"] == {"job": "web"}


async def test_what_the_process_says_about_itself(server: Server):
    """Version, times and settings are those of the process."""
    build = await server.data("status/buildinfo")
    runtime = await server.data("status/runtimeinfo")

    assert (build["application"], build["applicationVersion"]) == ("tests", "1.2")
    assert runtime == {
        "startTime": "2023-11-14T22:13:20Z",
        "serverTime": "2023-11-14T22:13:20Z",
        "CWD": "/",
        "hostname": "here",
        "storageRetention": "1d",
    }
    assert await server.data("status/flags") == {"query.timeout": "2m"}


async def test_a_body_that_is_no_form(server: Server):
    """Only a form is read; a body of another kind is as good as none."""
    url = f"{server.url}/api/v1/query?query=1"
    async with server.http.post(url, json={"query": "2"}) as answer:
        body = await answer.json()

    assert body["data"]["result"][1] == "1"


async def test_a_form_that_is_too_large(server: Server):
    """A form past the server's limit is refused in the envelope."""
    status, body = await server.post("query", ("query", "1" * MAX_BODY_BYTES))

    assert (status, body["errorType"]) == (400, "bad_data")


async def test_a_defect_of_ours(server: Server, caplog: Any):
    """What breaks is an internal error in the envelope, and is in the log with its traceback."""
    server.metadata = None  # type: ignore[assignment]  # breaks whoever reads it

    status, kind, text = await server.refusal("metadata")

    assert (status, kind) == (500, "internal")
    assert "TypeError" in text
    assert caplog.records[-1].exc_info


def test_no_parameters_lead_to_anything_but_an_envelope(tmp_path: Path):
    """Any parameters give a success or an error that blames the request."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(serving(tmp_path)))
        server.append(0, {"up;job=web": 1})

        async def ask(path: str, encoded: str, as_form: bool) -> tuple[int, Any]:
            url = URL(f"{server.url}/api/v1/{path}?{encoded}", encoded=True)
            method, form = "GET", None
            if as_form and path in FORMS:
                url, method, form = url.with_query(None), "POST", encoded
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
            async with server.http.request(method, url, data=form, headers=headers) as answer:
                return answer.status, await answer.json()

        @given(
            st.sampled_from(PATHS),
            st.lists(st.tuples(st.sampled_from(NAMES).map(quote), VALUES), max_size=6),
            st.booleans(),
        )
        @settings(max_examples=400)
        def any_request(path: str, parameters: list[tuple[str, str]], as_form: bool) -> None:
            encoded = "&".join(f"{name}={value}" for name, value in parameters)
            status, body = runner.run(ask(path, encoded, as_form))

            if status == 200:
                assert body["status"] == "success"
                assert "data" in body
            else:
                assert body["status"] == "error"
                assert body["error"]
                assert 400 <= status < 500 or body["errorType"] == "timeout"

        try:
            any_request()
        finally:
            runner.run(stack.aclose())
