"""Batches of pictures of one constant size, and of image files for a classifier, with a teacher's answers if any."""

import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drunet.training.batches import EpochBatches
from drunet.training.distillation import Answers
from drunet.training.feed import Ahead
from studies.common.images.folder import read_image
from studies.common.images.view import View

# Position of a picture, and how often the epoch has shown it before.
Shown: TypeAlias = tuple[int, int]


class Originals:
    """Decoded images by file below `root`, the first ones kept in memory, up to `keep_mb` MB of pixels.

    What comes later is decoded every time: every epoch is a pass over all images, in which giving up old ones for new
    would keep none until it is asked for again. `read` decodes a file, and brings it to what is kept of it.
    """

    def __init__(
        self, root: str | os.PathLike[str], keep_mb: float, read: Callable[[Path], NDArray[np.uint8]] | None = None
    ) -> None:
        self._root, self._left, self._read = Path(root), keep_mb * 1e6, read
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._keeping = threading.Lock()

    def __call__(self, file: str) -> NDArray[np.uint8]:
        """An image, uint8 (h, w, 3) unless it is read otherwise, not to be written to."""
        if file in self._kept:
            return self._kept[file]
        image = (self._read or read_image)(self._root / file)
        image.flags.writeable = False
        with self._keeping:
            if image.nbytes <= self._left and file not in self._kept:
                self._kept[file] = image
                self._left -= image.nbytes
        return image


class PictureBatches(EpochBatches):
    """Pictures in batches of one size, since a network is traced (on a GPU: compiled) for one shape only.

    The last batch of an epoch is filled up from the beginning of the order, and an order that is too short begins anew.
    A fixed dataset also yields weights, and fills up with its first picture, which does not count there: its targets
    and weight are zero. Metrics without weights must leave out what has no target. `originals` gives a file's pixels
    (uint8), to several threads at a time where there are `workers`; `batches` are as for `EpochBatches`.
    """

    def __init__(self, files: Sequence[str], *, originals: Callable[[str], NDArray[np.uint8]], **batches: Any) -> None:
        super().__init__(len(files), **batches)
        self.files, self._originals = list(files), originals

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], ...]:
        pixels, targets = self._pair(index)
        if not self.fixed:
            return pixels, targets
        return pixels, targets * self.counts(index)[:, None].astype(np.float32), self.weights(index)

    @abstractmethod
    def _pair(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels and targets of a batch."""

    @abstractmethod
    def _seen(self, picture: Shown) -> Any:
        """What a batch takes of a picture."""

    def _places(self, index: int) -> range:
        return range(index * self.batch_size, (index + 1) * self.batch_size)

    def shown(self, index: int) -> list[Shown]:
        """The pictures of a batch."""
        if self.fixed:
            return [(place if place < self.count else 0, 0) for place in self._places(index)]
        order = self.in_rounds("order", self.count, self.count)
        return [(int(order[place % self.count]), place // self.count) for place in self._places(index)]

    def gathered(self, index: int) -> list[Any]:
        """What is seen of each picture of a batch."""
        return [self._seen(picture) for picture in self.shown(index)]

    def counts(self, index: int) -> NDArray[np.bool_]:
        """Which pictures of a fixed batch count, (batch,): not those that fill it up."""
        return np.asarray(self._places(index)) < self.count

    def weights(self, index: int) -> NDArray[np.float32]:
        """Weights of a fixed batch, (batch,): 0 for what fills it up; a loss is then the mean over the pictures."""
        whole = len(self) * self.batch_size
        return (self.counts(index) * (whole / self.count)).astype(np.float32)


class ImageBatches(PictureBatches):
    """Images with views that are drawn anew for every epoch; fixed: each in its one test view.

    `labels` are int (n,). If `distilled`, there is room for the answers of the `teacher`, who is asked about the very
    pixels that are yielded; without one it is zeros, as a validation loss is plain cross-entropy. Yields images (batch,
    size, size, 3) in [0, 1] and labels (batch, classes or 2 classes), one-hot, then the teacher's probabilities; and
    weights of a fixed dataset. All are float32.
    """

    streams: ClassVar = {**EpochBatches.streams, "augmentation": (17,)}

    def __init__(
        self,
        files: Sequence[str],
        labels: NDArray[np.int64],
        *,
        classes: int,
        view: View,
        distilled: bool = False,
        teacher: Answers | None = None,
        **pictures: Any,
    ) -> None:
        super().__init__(files, **pictures)
        self.labels, self._one_hot = np.asarray(labels), np.eye(classes, dtype=np.float32)
        self._view, self._distilled, self._teacher = view, distilled or teacher is not None, teacher

    def _pair(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        images, one_hot = self.inputs(index), self._one_hot[self.labels[[i for i, _ in self.shown(index)]]]
        if not self._distilled:
            return images, one_hot
        answers = np.zeros_like(one_hot) if self._teacher is None else self._teacher(images)
        return images, np.concatenate([one_hot, answers], axis=-1)

    def inputs(self, index: int) -> NDArray[np.float32]:
        """The images of a batch alone, float32 (batch, size, size, 3) in [0, 1]: the teacher is not asked."""
        return np.stack(self.gathered(index)).astype(np.float32) / np.float32(255)

    def _seen(self, picture: Shown) -> NDArray[np.uint8]:
        original = self._originals(self.files[picture[0]])
        if self.fixed:
            return self._view.test(original)
        return self._view.training(self.draws("augmentation", *picture), original)


def probabilities(model: Any, batches: PictureBatches) -> NDArray[np.float32]:
    """What a model answers for the pictures of a fixed dataset: float32 (n, outputs), in their order."""
    with Ahead(batches.inputs, len(batches), batches.workers) as inputs:
        answers = [np.asarray(model.predict_on_batch(batch), dtype=np.float32) for batch in inputs]
    return np.concatenate(answers)[: batches.count]
