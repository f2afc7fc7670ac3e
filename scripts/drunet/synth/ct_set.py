"""The embedded CT set: two classes from two kinds of source, and annotated series of four subtypes of tumour.

It is laid out as the data of the papers are. `classifier/` has the folders Training, Validation and Testing with the
classes Cancer (a scanner's DICOM slices) and Non-cancer (figures of articles on pneumonia); its images were dealt out
one by one, so patients and articles leak from part to part. `boxes/` has DICOM series as Lung-PET-CT-Dx has, and beside
both lie folders of Pascal VOC files that are named after the slices' UIDs.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from drunet.console import progress
from drunet.errors import CtError
from drunet.files import whole_file, whole_folder
from drunet.synth.ct_anatomy import BOTTOM_MM, TOP_MM, Anatomy, draw_anatomy
from drunet.synth.ct_figures import draw_figure, draw_style, save_figure
from drunet.synth.ct_files import new_uid, write_slice, write_voc
from drunet.synth.ct_findings import GROWTHS, Tumour, draw_pneumonia, draw_tumour, heights
from drunet.synth.ct_phantom import Slice, draw_slice

CANCER, OTHER = "Cancer", "Non-cancer"
SERIES = "CT_5mm_lung"
# How far beyond its tumour a patient's slice without annotation lies, mm.
_BEYOND = 10.0


def write_ct_set(
    folder: str | os.PathLike[str],
    *,
    size: int,
    classifier: Mapping[str, Any],
    boxes: Mapping[str, Any],
    seed: int,
) -> None:
    """Write the set; the folder is there whole or not at all. The same values give the same bytes.

    Parameters
    ----------
    folder : path
        New or empty. Gets `classifier`, `classifier_annotation`, `classifier_sources.tsv` (file, source), `boxes` and
        `boxes_annotation`.
    size : int
        Side of the DICOM slices, px.
    classifier : mapping
        `patients` with `slices` each, `articles` with `figures` each, and the images of `parts` by proportion.
    boxes : mapping
        `patients` per subtype with `slices` annotated and `extra` not annotated each, and `strays`, the number of
        annotations whose slice is missing.
    seed : int
        No patient's and no article's pixels depend on how many others there are.

    Raises
    ------
    CtError
        The folder holds something already.
    ValueError
        A subtype is unknown, or a count or the size too small.
    """
    _check(size, classifier, boxes)
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CtError(
            "the CT set cannot be written: its folder holds something already",
            where=str(target),
            found="a file" if target.is_file() else "a folder that is not empty",
            mend="Remove it, or name another folder.",
        )
    total = classifier["patients"] + classifier["articles"] + sum(boxes["patients"].values())
    with whole_folder(target) as new, progress(total, "drawing CT slices", "patients") as bar:
        _write_classifier(new, size, classifier, seed, bar)
        _write_boxes(new, size, boxes, seed, bar)


@dataclass(frozen=True)
class Patient:
    """A drawn patient with a tumour: the number that names the files, and what they show."""

    number: str
    anatomy: Anatomy
    tumour: Tumour
    seed: int

    @classmethod
    def draw(cls, number: str, subtype: str, seed: int) -> Patient:
        """The same number and seed give the same patient."""
        anatomy = _anatomy(number, seed)
        return cls(number, anatomy, draw_tumour(anatomy, subtype), seed)

    def write(self, path: Path, drawn: Slice, z: float, instance: int, compressed: bool = False) -> str:
        """Write a slice and give its UID."""
        uid = new_uid(self.seed, self.number, instance)
        write_slice(
            path,
            drawn.hu,
            uid=uid,
            patient=f"Lung_Dx-{self.number}",
            name=f"Phantom^{self.number}",
            study=new_uid(self.seed, self.number, "study"),
            series=new_uid(self.seed, self.number, "series"),
            instance=instance,
            spacing=self.anatomy.field / drawn.hu.shape[0],
            z=z,
            compressed=compressed,
        )
        return uid

    def annotate(self, folder: Path, uid: str, drawn: Slice) -> None:
        """Write the box of a slice that shows the tumour."""
        if drawn.box is None:
            raise ValueError(f"a slice of {self.number} shows no tumour")
        width = drawn.hu.shape[0]
        path = folder / self.number / f"{uid}.xml"
        write_voc(path, name=self.tumour.subtype, size=(width, width), boxes=[drawn.box])

    def slices(self, count: int, size: int) -> Iterator[tuple[Slice, float]]:
        """Slices that show the tumour, with their heights."""
        for z in heights(self.tumour, count).tolist():
            yield draw_slice(self.anatomy, z, size, self.tumour), z


def _write_classifier(folder: Path, size: int, wanted: Mapping[str, Any], seed: int, bar: tqdm[Any]) -> None:
    """Images of both classes in their parts, the annotations of the one and the sources of both."""
    rows: list[tuple[str, str]] = []
    count = wanted["patients"] * wanted["slices"]
    places = iter(_places(CANCER, count, wanted["parts"], seed))
    for index in range(wanted["patients"]):
        patient = Patient.draw(f"C{index + 1:04d}", sorted(GROWTHS)[index % len(GROWTHS)], seed)
        for instance, (drawn, z) in enumerate(patient.slices(wanted["slices"], size), 1):
            part, number = next(places)
            file = f"{part}/{CANCER}/{CANCER}_{number}.dcm"
            uid = patient.write(folder / "classifier" / file, drawn, z, instance, compressed=index + instance == 1)
            patient.annotate(folder / "classifier_annotation", uid, drawn)
            rows.append((file, f"patient {patient.number}"))
        bar.update()
    count = wanted["articles"] * wanted["figures"]
    places = iter(_places(OTHER, count, wanted["parts"], seed))
    for index in range(wanted["articles"]):
        name = f"article {index + 1:03d}"
        for file in _write_article(folder / "classifier", name, wanted["figures"], size, seed, places):
            rows.append((file, name))
        bar.update()
    table = pd.DataFrame(sorted(rows), columns=["file", "source"])
    with whole_file(folder / "classifier_sources.tsv") as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n")


def _write_article(
    folder: Path, name: str, count: int, size: int, seed: int, places: Iterator[tuple[str, int]]
) -> Iterator[str]:
    """Write the figures of one article, all of one patient; give their files."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    style, anatomy = draw_style(rng), _anatomy(name, seed)
    pneumonia = draw_pneumonia(anatomy)
    step = rng.uniform(7, 18)
    for index in range(count):
        z = float(np.clip(pneumonia.z + (index - (count - 1) / 2) * step, TOP_MM, BOTTOM_MM))
        figure = draw_figure(rng, draw_slice(anatomy, z, size, pneumonia), style, index)
        part, number = next(places)
        file = f"{part}/{OTHER}/{number:04d}{style.suffix}"
        save_figure(folder / file, figure, style)
        yield file


def _write_boxes(folder: Path, size: int, wanted: Mapping[str, Any], seed: int, bar: tqdm[Any]) -> None:
    """Series of all subtypes, their annotations, and some annotations of slices that nobody has."""
    numbers = [(subtype, index) for subtype, count in wanted["patients"].items() for index in range(count)]
    for place, (subtype, index) in enumerate(numbers):
        patient = Patient.draw(f"{subtype}{index + 1:04d}", subtype, seed)
        shown = _write_series(folder / "boxes", patient, size, wanted, first=place == 0)
        for uid, drawn in shown.items():
            patient.annotate(folder / "boxes_annotation", uid, drawn)
        if place < wanted["strays"]:
            patient.annotate(folder / "boxes_annotation", new_uid(seed, patient.number, "gone"), drawn)
        bar.update()


def _write_series(
    folder: Path, patient: Patient, size: int, wanted: Mapping[str, Any], first: bool
) -> dict[str, Slice]:
    """Write the slices of a patient; give those that show the tumour, by their UIDs. The set's first is compressed."""
    series, shown = folder / f"Lung_Dx-{patient.number}" / SERIES, {}
    for instance, (drawn, z) in enumerate(patient.slices(wanted["slices"], size), 1):
        path = series / f"1-{instance:02d}.dcm"
        shown[patient.write(path, drawn, z, instance, compressed=first and instance == 1)] = drawn
    for instance, z in enumerate(_beyond(patient.tumour, wanted["extra"]), wanted["slices"] + 1):
        drawn = draw_slice(patient.anatomy, z, size, patient.tumour)
        patient.write(series / f"1-{instance:02d}.dcm", drawn, z, instance)
    return shown


def _beyond(tumour: Tumour, count: int) -> list[float]:
    """Heights of slices that do not show the tumour: on the side of it that has more room."""
    reach = 1.4 * tumour.radius + _BEYOND
    side = 1 if BOTTOM_MM - tumour.z > tumour.z - TOP_MM else -1
    return [float(np.clip(tumour.z + side * (reach + 5 * index), TOP_MM, BOTTOM_MM)) for index in range(count)]


def _places(label: str, count: int, parts: Mapping[str, int], seed: int) -> list[tuple[str, int]]:
    """Part and number for each image of a class, drawn at random: neither tells patient or article."""
    rng = np.random.default_rng([seed, zlib.crc32(f"places of {label}".encode())])
    shares = np.cumsum(list(parts.values())) / sum(parts.values())
    ends = np.rint(shares * count).astype(int)
    dealt = [(part, index + 1) for part, (start, end) in _spans(parts, ends) for index in range(end - start)]
    return [dealt[place] for place in rng.permutation(count)]


def _spans(parts: Mapping[str, int], ends: Any) -> list[tuple[str, tuple[int, int]]]:
    starts = [0, *ends[:-1].tolist()]
    return list(zip(parts, zip(starts, ends.tolist(), strict=True), strict=True))


def _anatomy(name: str, seed: int) -> Anatomy:
    return draw_anatomy(int(np.random.default_rng([seed, zlib.crc32(f"anatomy of {name}".encode())]).integers(2**31)))


def _check(size: int, classifier: Mapping[str, Any], boxes: Mapping[str, Any]) -> None:
    """Refuse what cannot be drawn."""
    if unknown := sorted(set(boxes["patients"]) - set(GROWTHS)):
        raise ValueError(f"unknown subtypes {unknown}, expected some of {sorted(GROWTHS)}")
    counts = [classifier[key] for key in ("patients", "slices", "articles", "figures")]
    counts += [*boxes["patients"].values(), boxes["slices"], *classifier["parts"].values()]
    if min(counts) < 1 or min(boxes["extra"], boxes["strays"]) < 0 or size < 32:
        raise ValueError(f"needs at least one of each and 32 px, got {dict(classifier)}, {dict(boxes)} and {size} px")
