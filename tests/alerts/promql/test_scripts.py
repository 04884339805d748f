"""Our own PromQL scripts: every case, with its re-runs, gives what is written there."""

from pathlib import Path

import pytest

from tests.conformance.runner import is_close, run_script
from tests.conformance.script import ScriptError

_SCRIPTS = sorted(Path(__file__).with_name("scripts").glob("*.test"))


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda script: script.stem)
def test_script(script):
    """Every case passes, the experimental ones included."""
    report = run_script(script.read_text(encoding="utf-8"))

    assert report.failures == []
    assert report.passed == report.total


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("m 2", "is 1.0, not 2.0"),
        ('m{a="b"} 1', "missing"),
        ("", "not expected [m]"),
        ("1", "a scalar is expected"),
        ("expect fail", "did not fail"),
        ("expect warn\n m 1", "is missing among"),
    ],
)
def test_wrong_expectation_is_told(body, reason):
    """A case that does not hold is a failure that says why."""
    report = run_script(f"load 1m\n m 1\n\neval instant at 0 m\n {body}\n")

    (failure,) = report.failures
    assert failure.startswith("line 4: m: ")
    assert reason in failure


@pytest.mark.parametrize(
    "script",
    [
        "what",
        "load",
        "load 1m\n m what",
        "eval instant at x m",
        "eval instant at 0 m\n expect nothing",
        "eval instant at 0 m\n m 1 2",
        "eval instant at 0 m\n expect warn\n expect no_warn",
        "eval instant at 0 m\n expect fail\n expect fail",
    ],
)
def test_no_script(script):
    """A text that is no script is refused with its line."""
    with pytest.raises(ScriptError, match="line "):
        run_script(script)


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        (1.0, 1.0 + 1e-7, True),
        (1.0, 1.0 + 1e-5, False),
        (0.0, 1e-20, False),
        (0.0, 1e-320, True),
        (float("nan"), float("nan"), True),
        (float("inf"), float("inf"), True),
        (float("inf"), 1.0, False),
        (float("nan"), 1.0, False),
    ],
)
def test_closeness(one, other, close):
    """Floats are the same but for rounding, NaN is NaN."""
    assert is_close(one, other) is close
    assert is_close(other, one) is close
