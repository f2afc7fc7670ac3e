"""What distillation changes in the training of a patch-wise classifier: its batches, its loss, what is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet.files import sha256
from drunet.inference import EngineOptions, Layout
from drunet.sampling import Crops, Source
from drunet.settings.distillation import DistillationSettings
from drunet.training.batches import SlideSource, TileBatches
from drunet.training.distillation import DistillationLoss, LabelledAccuracy
from drunet.training.teacher import OnnxTeacher
from drunet.training.unlabelled import TaughtBatches


@dataclass(frozen=True)
class Lesson:
    """How a student is taught, and its teacher.

    Attributes
    ----------
    settings : DistillationSettings
    teacher : OnnxTeacher
        Of [non-tumour, tumour].
    file : str
        The ONNX file that the teacher was read from.
    """

    settings: DistillationSettings
    teacher: OnnxTeacher
    file: str

    @classmethod
    def read(
        cls,
        name: str,
        settings: DistillationSettings,
        file: str,
        *,
        size: int,
        layout: Layout | None = None,
        options: EngineOptions | None = None,
    ) -> Lesson:
        """Load the teacher of the classifier `name`, an ONNX file.

        Parameters
        ----------
        settings : DistillationSettings
        size : int
            Side of a tile, px.
        layout : Layout, optional
            How the teacher wants its tiles; a trained one's graph normalises by itself.
        options : EngineOptions, optional
            Where the teacher computes.

        Raises
        ------
        ModelError
            If the teacher does not take the student's tiles, or does not tell two classes apart.
        ProviderError
            As `drunet.inference.open_session`.
        """
        where = f"classifiers.{name}.distillation.teacher ({settings.teacher})"
        return cls(settings, OnnxTeacher(file, 2, size=size, layout=layout, options=options, where=where), file)

    def batches(
        self,
        slides: Sequence[SlideSource],
        sources: Sequence[Source],
        tissue: Crops,
        *,
        steps: int | None,
        **tiles: Any,
    ) -> TaughtBatches:
        """Batches to learn from; see `TaughtBatches`."""
        share = self.settings.unlabelled_share
        return TaughtBatches(slides, sources, tissue, self.teacher, share=share, steps=steps, **tiles)

    def loss(self) -> DistillationLoss:
        """Cross-entropy where no teacher has answered: the validation loss is that of a student without a teacher."""
        return DistillationLoss(self.settings.temperature, self.settings.weight)

    def metric(self) -> LabelledAccuracy:
        """Accuracy over labelled tiles."""
        return LabelledAccuracy()

    def facts(self, batches: TaughtBatches) -> dict[str, Any]:
        """What to remember, as JSON values.

        Returns
        -------
        dict
            The settings, sha256 of the teacher, tissue_tiles (there are), batch (labelled and unlabelled tiles in
            each), note.
        """
        batch = {"labelled": batches.batch_size, "unlabelled": batches.unlabelled_per_batch}
        return {
            **self.settings.model_dump(),
            "sha256": sha256(self.file),
            "tissue_tiles": len(batches.unlabelled),
            "batch": batch,
            "note": "unlabelled tiles are tissue tiles of the training slides, whatever their label; they teach by the "
            "teacher's answers alone, and validation is by labels alone",
        }


class LabelBatches(TileBatches):
    """Tiles to validate a student on, without a teacher's answers: these are zeros, float32 (n, 4) with the labels."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, hard = super().__getitem__(index)
        return x, np.concatenate([hard, np.zeros_like(hard)], axis=-1)
