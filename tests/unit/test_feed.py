from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from drunet.errors import SlideError
from drunet.training import feed, loop
from drunet.training.batches import EpochBatches
from drunet.training.feed import SPARE, Ahead, Feed


def living() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_no_further_ahead_than_promised(workers: int) -> None:
    begun, lead = [], []

    def take(index: int) -> int:
        begun.append(index)
        # The earlier ones take longer.
        time.sleep(0.002 * (3 - index % 4))
        return index

    with Ahead(take, 20, workers) as made:
        for taken, result in enumerate(made):
            assert result == taken
            lead.append(len(begun) - taken)
    assert sorted(begun) == list(range(20)) and max(lead) <= workers + SPARE + 1
    assert not living()


def test_what_fails_is_raised_in_its_place_and_no_thread_is_left() -> None:
    def take(index: int) -> int:
        if index == 2:
            raise SlideError("broken", status="unreadable", where="s1", mend="Mend it.")
        return index

    with Ahead(take, 100, 4) as made:
        assert [next(made), next(made)] == [0, 1]
        with pytest.raises(SlideError, match="broken"):
            next(made)
    assert not living()


def test_threads_end_where_a_loop_is_left_early() -> None:
    with Ahead(lambda index: index, 10_000, 4) as made:
        assert next(made) == 0
    assert not living()
    assert list(Ahead(lambda index: index, 0, 2)) == []


class Numbers(EpochBatches):
    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return (np.full(1, 10 * self.epoch + index),)


def test_a_feed_gives_the_epoch_that_is_set_when_it_begins() -> None:
    batches = Numbers(4, batch_size=1, seed=1, workers=2)
    fed = Feed(batches)
    assert fed[1][0] == 1, "before the first epoch: any of them"
    for batches.epoch in (3, 5):
        fed.on_epoch_begin()
        assert [int(fed[i][0][0]) for i in range(len(fed))] == [10 * batches.epoch + i for i in range(4)]
        fed.on_epoch_end()
    assert not living()


def test_a_step_waits_from_the_end_of_the_one_before_until_its_batch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 102.0, 103.0, 109.0])  # the epoch begins; three batches are handed over
    monkeypatch.setattr(feed.time, "perf_counter", lambda: next(now))
    fed = Feed(Numbers(3, batch_size=1, seed=1))
    fed.on_epoch_begin()
    for index in range(3):
        _ = fed[index]
    fed.close()
    fed.ended |= {1: 108.0, 0: 105.0, 2: 110.0}
    # 2 s for the first; the second lay ready; the third came a second after the second step had ended; of 10 s.
    assert fed.waited() == pytest.approx(0.3)


@pytest.mark.parametrize(("waited", "said"), [(0.04, 0), (0.25, 1)])
def test_a_wait_is_told_beside_every_epoch_and_once_in_a_sentence_if_it_is_long(
    waited: float, said: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state: Any = type("State", (), {"history": [{"seconds": 1.0, "waited": waited}], "kept": 2, "best": 0.5})()
    plan: Any = type("Plan", (), {"epochs": 9})()
    keeper = loop._Keeper(state, Feed(Numbers(3, batch_size=1, seed=1, workers=2)), plan, "m1", "loss", None)  # type: ignore[arg-type]
    for epoch in (2, 2):
        keeper._say(epoch, {"loss": 0.5})
    told = capsys.readouterr().err
    assert told.count(f"waited {waited:.0%}, at most") == 2
    assert told.count("m1: the network waited for data 25% of this epoch.") == said
