"""Batches made by several threads ahead of the training step, and how long the step waits for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras

from drunet.errors import DrunetError

# Batches that may lie ready beside those that are being made.
SPARE = 2


class Ahead(Iterator[Any]):
    """Results of take(0), …, take(count - 1) in this order, made by threads, at most `workers` + `SPARE` ahead.

    An exception of `take` is raised where its result would be. A context manager, as threads have to be ended.
    """

    def __init__(self, take: Callable[[int], Any], count: int, workers: int) -> None:
        self._take, self._left = take, iter(range(count))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
        self._pending: deque[Future[Any]] = deque()
        for _ in range(workers + SPARE):
            self._submit()

    def _submit(self) -> None:
        for index in self._left:
            self._pending.append(self._pool.submit(self._take, index))
            return

    def __next__(self) -> Any:
        if not self._pending:
            raise StopIteration
        result = self._pending.popleft().result()
        self._submit()
        return result

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads when each has made what it is making."""
        self._pool.shutdown(cancel_futures=True)


class Feed(keras.utils.PyDataset):
    """The batches of an `EpochBatches` for `keras.Model.fit`, made ahead by as many threads as it has workers.

    Keras' own queue of workers does not tell how long it is waited for, ends every epoch with a tenth of a second of
    idling, and leaves its thread behind when a batch fails. `failure` is what stopped a batch, as a backend puts an
    error of its own in its place; `ended` is when a step of the epoch ended, by its number, in seconds of
    `time.perf_counter`, as the training loop says.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__(workers=1)
        self.batches = batches
        self.failure: DrunetError | None = None
        self.ended: dict[int, float] = {}
        self._ahead: Ahead | None = None
        self._begun, self._ready = 0.0, list[float]()

    def __len__(self) -> int:
        return len(self.batches)

    def on_epoch_begin(self) -> None:
        """Begin to make batches of the epoch that the dataset is set to."""
        self.close()
        self.ended, self._ready, self._begun = {}, [], time.perf_counter()
        self._ahead = Ahead(self.batches.__getitem__, len(self), self.batches.workers)

    def on_epoch_end(self) -> None:
        """End the threads."""
        self.close()

    def close(self) -> None:
        """End the threads, wherever the epoch is."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None

    def __getitem__(self, index: int) -> Any:
        try:
            # Before the first epoch Keras looks at two batches, to see what they are like.
            batch = self.batches[index] if self._ahead is None else next(self._ahead)
        except DrunetError as error:
            self.failure = self.failure or error
            raise
        self._ready.append(time.perf_counter())
        return batch

    def waited(self) -> float:
        """Share of the time of the epoch's steps in which a step had no batch to work on, from 0 to 1.

        A step begins to wait when the one before has ended, the first one with the epoch.
        """
        ends = [self._begun, *sorted(self.ended.values())]
        waits = (max(0.0, ready - end) for ready, end in zip(self._ready, ends[:-1], strict=False))
        return sum(waits) / max(ends[-1] - self._begun, 1e-9)
