"""Seconds add up over blocks, once where they are nested, and not where the watch is stopped."""

from types import SimpleNamespace

import pytest

from gnvpro.surrogate.stopwatch import Stopwatch


@pytest.fixture
def now(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        "gnvpro.surrogate.stopwatch.time",
        SimpleNamespace(process_time=lambda: clock.now, perf_counter=lambda: 2 * clock.now),
    )
    return clock


def test_blocks_add_up_and_nested_ones_count_once(now):
    watch = Stopwatch()
    with watch:
        now.now += 1
        with watch:
            now.now += 2
            assert watch.read() == (3, 6)
    now.now += 10
    with watch:
        now.now += 4
    assert (watch.cpu_seconds, watch.wall_seconds) == (7, 14)


def test_stopped_it_does_not_count_and_goes_on_afterwards(now):
    watch = Stopwatch(5, 10)
    with watch:
        now.now += 1
        with watch.stopped():
            now.now += 100
            assert watch.cpu_seconds == 6
        now.now += 2
    assert watch.read() == (8, 16)


def test_it_stops_where_a_block_raises(now):
    watch = Stopwatch()

    def fails():
        with watch:
            now.now += 1
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    now.now += 1
    assert watch.cpu_seconds == 1
