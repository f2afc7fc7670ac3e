"""A finished classifier, as an ONNX file, that answers for a student the very images that the student is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from drunet.errors import ModelError
from drunet.inference import EngineOptions, Layout, check_classifier, open_session

# Metadata of an exported file: the names of its classes, in the order of its output, as a JSON list.
CLASSES = "classes"
_SUM_ERROR = 1e-3


class OnnxTeacher:
    """Class probabilities of a classifier in an ONNX file.

    Parameters
    ----------
    path : path
    classes : list of str, or int
        The student's classes, or how many there are.
    size : int
        Side of the images, px.
    layout : Layout, optional
        How the file wants its images; what this project exports wants the default. With two classes and the tumour
        first, the answers are turned round: a student's first class is non-tumour.
    options : EngineOptions, optional
        Provider, precision and threads.
    where : str, optional
        How messages call the teacher; else its path.

    Raises
    ------
    ModelError
        If the file is no classifier of such images, or its classes are not the student's, in number or, where the file
        names them, by name.
    ProviderError
        If the provider asked for is not there.

    Attributes
    ----------
    how : dict
        What its answers hang on beside the file, as JSON values: provider, precision, layout.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        classes: Sequence[str] | int,
        *,
        size: int,
        layout: Layout | None = None,
        options: EngineOptions | None = None,
        where: str | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._where = where or f"teacher {self.path}"
        self._layout = layout or Layout()
        options = options or EngineOptions()
        self.how = {"provider": options.provider, "precision": options.precision, "layout": asdict(self._layout)}
        self._session = open_session(self.path, options, where=self._where)
        self._input = check_classifier(self._session, self._layout, size, where=self._where)
        self._names = None if isinstance(classes, int) else list(classes)
        self.classes = classes if isinstance(classes, int) else len(classes)
        self._check_classes(self._session.get_outputs()[0].shape[1])

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer for a batch.

        Parameters
        ----------
        images : float32 (n, size, size, 3) in [0, 1]

        Returns
        -------
        float32 (n, classes)
            The first output, if the file has several.

        Raises
        ------
        ModelError
            If the answers are no probabilities, or of another number of classes.
        """
        feed = images * np.float32(255 * self._layout.scale)
        if not self._layout.channels_last:
            feed = np.ascontiguousarray(feed.transpose(0, 3, 1, 2))
        answers = np.asarray(self._session.run(None, {self._input: feed})[0], dtype=np.float32)
        # A file may leave its number of classes open.
        self._check_classes(answers.shape[1])
        self._check_probabilities(answers)
        turned = self.classes == 2 and self._layout.tumour == 0
        return np.ascontiguousarray(answers[:, ::-1]) if turned else answers

    def _check_classes(self, count: object) -> None:
        named = self._session.get_modelmeta().custom_metadata_map.get(CLASSES)
        own = json.loads(named) if named else None
        same_count = not isinstance(count, int) or count == self.classes
        if same_count and (own is None or self._names is None or own == self._names):
            return
        taught = ", ".join(self._names) if self._names else str(self.classes)
        raise ModelError(
            "the teacher knows other classes than its student",
            where=self._where,
            found=f"teacher: {', '.join(own) if own else count}; student: {taught}",
            mend="Take a teacher of the same classes in the same order.",
        )

    def _check_probabilities(self, answers: NDArray[np.float32]) -> None:
        sums = answers.sum(axis=1)
        # NaN compares false.
        if not (answers.min() >= -_SUM_ERROR and np.abs(sums - 1).max() <= _SUM_ERROR):
            raise ModelError(
                "the teacher's outputs are no probabilities",
                where=self._where,
                found=f"{answers.min():g} to {answers.max():g}, sums {sums.min():g} to {sums.max():g}",
                mend="Its last layer must be a softmax.",
            )
