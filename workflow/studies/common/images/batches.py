"""Batches of image files for a classifier, with a teacher's answers where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from studies.common.images.epoch_batches import EpochBatches, GivenOrder, Shown
from studies.common.images.folder import read_image
from studies.common.images.view import View

# Keeps the draws of views apart from those of the order, which use the same seed and epoch.
_VIEW_STREAM = 17

# float32 (n, size, size, 3) in [0, 1] to the probabilities of the classes, float32 (n, classes).
Answers: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Originals:
    """Decoded images by file, the first ones kept in memory.

    Parameters
    ----------
    root : path
    keep_mb : float
        Decoded pixels that are kept, MB; what comes later is decoded every time. (In a pass over all images, which
        every epoch is, giving up old ones for new would keep none until it is asked for again.)
    read : callable, optional
        How a file is decoded, and brought to what is kept of it; by default as `read_image` does.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        keep_mb: float,
        read: Callable[[Path], NDArray[np.uint8]] | None = None,
    ) -> None:
        self._root, self._left, self._read = Path(root), keep_mb * 1e6, read
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, file: str) -> NDArray[np.uint8]:
        """An image, uint8 (h, w, 3) unless it is read otherwise, not to be written to."""
        if file in self._kept:
            return self._kept[file]
        image = (self._read or read_image)(self._root / file)
        image.flags.writeable = False
        if image.nbytes <= self._left:
            self._kept[file] = image
            self._left -= image.nbytes
        return image


class ImageBatches(EpochBatches):
    """Images to learn from, in an order and with views that are drawn anew for every epoch.

    Parameters
    ----------
    files : list of str
        As `originals` takes them.
    labels : int (n,)
    classes : int
    originals : callable
        File to uint8 (h, w, 3).
    view : View
    batch_size, seed : int
    steps : int, optional
        Batches per epoch; by default as many as show every image once. The last one is filled up from the beginning of
        the order, and an order that is too short begins anew: an image's second view in an epoch is another.
    distilled : bool
        Leave room for a teacher's answers.
    teacher : callable, optional
        Asked about the very pixels that are yielded. Without one, its room is zeros.
    threads : int
        Images decoded and cut at a time.

    Yields
    ------
    (float32 (batch, size, size, 3) in [0, 1], float32 (batch, classes or 2 classes))
        Labels one-hot, then, if distilled, the teacher's probabilities.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: NDArray[np.int64],
        *,
        classes: int,
        originals: Callable[[str], NDArray[np.uint8]],
        view: View,
        batch_size: int,
        seed: int,
        steps: int | None = None,
        distilled: bool = False,
        teacher: Answers | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(len(files), batch_size=batch_size, seed=seed, steps=steps, threads=threads)
        self.files, self.labels = list(files), np.asarray(labels)
        self._one_hot = np.eye(classes, dtype=np.float32)
        self._originals, self._view = originals, view
        self._distilled, self._teacher = distilled or teacher is not None, teacher

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], ...]:
        images, chosen = self.inputs(index), [i for i, _ in self._shown(index)]
        return images, self._targets(self._one_hot[self.labels[chosen]], images)

    def inputs(self, index: int) -> NDArray[np.float32]:
        """The images of a batch alone, float32 (batch, size, size, 3) in [0, 1]: the teacher is not asked."""
        return np.stack(self._gathered(self._shown(index))).astype(np.float32) / np.float32(255)

    def _seen(self, picture: Shown) -> NDArray[np.uint8]:
        return self._view.training(self._rng(picture, _VIEW_STREAM), self._originals(self.files[picture[0]]))

    def _targets(self, one_hot: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._distilled:
            return one_hot
        answers = np.zeros_like(one_hot) if self._teacher is None else self._teacher(images)
        return np.concatenate([one_hot, answers], axis=-1)


class FixedImageBatches(GivenOrder, ImageBatches):
    """Images to be judged by, in the order given, each in its one test view.

    The last batch is filled up with images that count nothing: their labels are all zero, and so are their weights.
    Metrics without weights must leave out what has no label, as `LabelledAccuracy` does.

    Parameters
    ----------
    *images, **options
        As of `ImageBatches`; neither `steps` nor `teacher`, for a validation loss is plain cross-entropy.

    Yields
    ------
    (float32 (batch, size, size, 3), float32 (batch, classes or 2 classes), float32 (batch,))
        Images, labels and weights.
    """

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], ...]:
        images, targets = super().__getitem__(index)
        return images, targets * self.counts(index)[:, None].astype(np.float32), self.weights(index)

    def _seen(self, picture: Shown) -> NDArray[np.uint8]:
        return self._view.test(self._originals(self.files[picture[0]]))


def probabilities(model: Any, batches: Any) -> NDArray[np.float32]:
    """What a model makes of images: float32 (n, classes), in their order.

    Of `FixedImageBatches`, or of any batches in a given order that hand out their images by `inputs`.
    """
    answers = [np.asarray(model.predict_on_batch(batches.inputs(i)), dtype=np.float32) for i in range(len(batches))]
    return np.concatenate(answers)[: batches.count]
