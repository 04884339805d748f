"""Snapshots of the series store: what was there is there again, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from alerts.promql.engine import Engine
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.series.snapshot import SnapshotError, SnapshotFile, read_images
from alerts.series.store import CLAIM_WITHIN_S, SeriesStore

A, B, C = (Labels({"__name__": "m", "i": name, "text": "grüße\n"}) for name in "abc")
ALL = (Matcher(MatchOp.EQUAL, "__name__", "m"),)


class House:
    """A store of a process that started at the clock's time, with its snapshot."""

    def __init__(self, directory: Path, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock(1000.0)
        self.store = SeriesStore(clock=self.clock, retention_s=600)
        self.path = directory / "series.snapshot"
        self.file = SnapshotFile(self.path, self.store)

    def append(self, seconds: float, *samples: tuple[Labels, float], source: str = "s") -> None:
        """Append samples at a time."""
        self.store.source(source).append(round(seconds * 1000), samples)

    def again(self) -> House:
        """Return what the next process finds."""
        other = House(self.path.parent, self.clock)
        other.file.load()
        return other

    def samples(self) -> dict[Labels, list[tuple[float, int]]]:
        """Return seconds and bits of everything that is held."""
        selection, blocks = self.store.read(ALL, None, -1, 10**12)
        return {
            selection.labels[row]: [
                (time / 1000, bits)
                for time, bits in zip(
                    block.times_ms.tolist(),
                    np.ascontiguousarray(block.values[:, column]).view(np.int64).tolist(),
                    strict=True,
                )
            ]
            for block in blocks
            for column, row in enumerate(np.arange(len(selection.labels))[block.positions])
        }


def filled(directory: Path) -> House:
    """Return a store with two sources, gaps, an ended series and odd numbers."""
    house = House(directory)
    house.append(990, (A, float("nan")), (B, float("inf")))
    house.append(995, (B, -0.0))
    house.append(1000, (B, 5e-324))
    house.append(999, (C, 1.0), source="other")
    return house


def test_round_trip(tmp_path: Path) -> None:
    """Labels, times and every bit of the values come back, staleness markers included."""
    house = filled(tmp_path)

    size = house.file.save()

    assert size.series == 3
    assert size.bytes == house.path.stat().st_size
    assert house.again().samples() == house.samples()


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    """The file is nobody else's business, and nothing temporary stays behind."""
    house = filled(tmp_path)
    house.file.save()

    assert house.path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [house.path]


def test_appending_goes_on(tmp_path: Path) -> None:
    """Series continue in their rows, and one that does not come back ends."""
    house = filled(tmp_path)
    house.file.save()
    again = house.again()

    again.append(1005, (A, 1.0))
    house.append(1005, (A, 1.0))

    assert again.samples() == house.samples()


def test_rates_work_right_after_a_restart(tmp_path: Path) -> None:
    """A rate over five minutes has its samples at the first evaluation."""
    house = House(tmp_path, ManualClock(300.0))
    for second in range(0, 301, 15):
        house.append(second, (A, 2.0 * second))
    house.file.save()
    again = house.again()
    engine = Engine(again.store)

    (found,) = engine.instant_vector(engine.prepare("rate(m[5m])"), 300_000)

    assert found.value == pytest.approx(2.0)


def test_retention_counts_the_time_between(tmp_path: Path) -> None:
    """What became too old while nobody ran is not loaded, not even in part."""
    house = filled(tmp_path)
    house.file.save()
    house.clock = ManualClock(1000.0 + 592.0)

    times = {time for samples in house.again().samples().values() for time, _ in samples}

    assert times == {995, 999, 1000}
    house.clock = ManualClock(2000.0)
    assert house.again().store.series_count == 0


def test_clock_set_back(tmp_path: Path) -> None:
    """Samples from a future that has not come are left out, so that new ones are taken."""
    house = filled(tmp_path)
    house.file.save()
    house.clock = ManualClock(997.0)
    again = house.again()

    again.append(998, (B, 7.0))

    assert [time for time, _ in again.samples()[B]] == [990, 995, 998]


def test_no_file(tmp_path: Path) -> None:
    """The first start has nothing to load."""
    assert House(tmp_path).file.load() is None


async def test_source_that_stays_away(tmp_path: Path) -> None:
    """The series of a source nobody comes back to end, those of the others do not."""
    house = filled(tmp_path)
    house.file.save()
    again = house.again()
    again.append(1001, (B, 1.0))

    await again.clock.advance(CLAIM_WITHIN_S)
    again.store.expire()

    ended = again.samples()[C]
    assert [time for time, _ in ended] == [999, 1000 + CLAIM_WITHIN_S]
    assert len(again.samples()[B]) == 4


def test_series_of_an_absent_source_can_be_taken_over(tmp_path: Path) -> None:
    """A rule that moved to another group while nobody ran writes its series at once."""
    house = filled(tmp_path)
    house.file.save()
    again = house.again()

    again.append(1001, (C, 2.0), source="new")

    assert [time for time, _ in again.samples()[C]] == [1001]
    assert again.store.stats.refused_duplicate_series == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"", "torn"),
        (lambda data: data[:-1], "torn"),
        (lambda data: data + b"x", "torn"),
        (lambda data: b"PK\3\4 something else", "foreign"),
        (lambda data: data[:8] + b"\x09" + data[9:], "newer"),
        (lambda data: data[:60] + b"?" + data[61:], "damaged"),
    ],
)
def test_unusable(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[bytes], bytes],
    reason: str,
) -> None:
    """A file that is not whole and ours is logged, set aside, and the store starts empty."""
    house = filled(tmp_path)
    house.file.save()
    house.path.write_bytes(change(house.path.read_bytes()))

    again = house.again()

    assert again.store.series_count == 0
    assert f"as it is {reason}" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [f"series.snapshot.{reason}"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot to damage copies of."""
    house = filled(tmp_path_factory.mktemp("snapshot"))
    house.file.save()
    return house.path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_found(written: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bit is flipped, wherever it is cut, nothing is read."""
    content = bytearray(written.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)

    with damaged.open("rb") as file, pytest.raises(SnapshotError):
        read_images(file)
