"""The embedded CT set: two classes from two kinds of source, and annotated series of four subtypes of tumour.

It is laid out as the data of the papers are. `classifier/` has the folders Training, Validation and Testing with the
classes Cancer (a scanner's DICOM slices) and Non-cancer (figures of articles on pneumonia); its images were dealt out
one by one, so patients and articles leak from part to part. `boxes/` has DICOM series as Lung-PET-CT-Dx has, and beside
both lie folders of Pascal VOC files that are named after the slices' UIDs.
"""

import os
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless

from drunet.console import progress
from studies.common.drawing.chest import BOTTOM_MM, GROWTHS, TOP_MM, Chest, Slice, draw_slice
from studies.common.user_paths import whole_folder

WINDOWS = ((-600, 1500), (-600, 1200), (-500, 1400), (-350, 1500), (-200, 1500), (-400, 1800))
ARROWS = (None, (255, 255, 255), (250, 220, 40), (220, 40, 40))
SHORTEST, INTERCEPT = 40, -1024
_SPACE = uuid.UUID("5a0f1c5e-3a8d-4c39-9f0e-6d1f54b1f2c7")


def write_ct_set(
    folder: str | os.PathLike[str], *, size: int, classifier: Mapping[str, Any], boxes: Mapping[str, Any], seed: int
) -> None:
    """Write the set with DICOM slices of `size` px into a new or empty folder, which is there whole or not at all.

    The same values give the same bytes; no patient and no article depends on how many others there are. ct.yaml beside
    this file shows the keys of `classifier` and `boxes`.
    """
    numbers = [f"{subtype}{n + 1:04d}" for subtype, count in boxes["patients"].items() for n in range(count)]
    total = classifier["patients"] + classifier["articles"] + len(numbers)
    with whole_folder(folder) as new, progress(total, "drawing CT slices", "patients") as bar:
        rows = []
        places = _places("Cancer", classifier["patients"] * classifier["slices"], classifier["parts"], seed)
        for n in range(classifier["patients"]):
            patient = Patient(f"C{n + 1:04d}", sorted(GROWTHS)[n % 4], size, seed)
            for instance, z in enumerate(patient.heights(classifier["slices"]), 1):
                part, number = next(places)
                rows.append((f"{part}/Cancer/Cancer_{number}.dcm", f"patient {patient.number}"))
                drawn = patient.write(new / "classifier" / rows[-1][0], z, instance, packed=n + instance == 1)
                patient.annotate(new / "classifier_annotation", drawn, instance)
            bar.update()
        places = _places("Non-cancer", classifier["articles"] * classifier["figures"], classifier["parts"], seed)
        for n in range(classifier["articles"]):
            for figure, options in draw_figures(f"article {n + 1:03d}", classifier["figures"], size, seed):
                part, number = next(places)
                rows.append((f"{part}/Non-cancer/{number:04d}.{options['format'].lower()}", f"article {n + 1:03d}"))
                figure.save(_made(new / "classifier" / rows[-1][0]), **options)
            bar.update()
        table = pd.DataFrame(sorted(rows), columns=["file", "source"])
        table.to_csv(new / "classifier_sources.tsv", sep="\t", index=False, lineterminator="\n")
        for n, owner in enumerate(numbers):
            patient = Patient(owner, owner[0], size, seed)
            heights = [*patient.heights(boxes["slices"]), *patient.beyond(boxes["extra"])]
            for instance, z in enumerate(heights, 1):
                path = new / f"boxes/Lung_Dx-{owner}/CT_5mm_lung/1-{instance:02d}.dcm"
                drawn = patient.write(path, z, instance, packed=n + instance == 1)
                if instance <= boxes["slices"]:
                    patient.annotate(new / "boxes_annotation", drawn, instance)
                if instance == 1 and n < boxes["strays"]:
                    patient.annotate(new / "boxes_annotation", drawn, "gone")
            bar.update()


class Patient:
    """A patient with a tumour: the `number` that names the files, and what they show. The seed decides all of it."""

    def __init__(self, number: str, subtype: str, size: int, seed: int) -> None:
        self.number, self.size, self.seed, self.chest = number, size, seed, _chest(number, seed)
        self.tumour = self.chest.draw_finding(subtype)

    def heights(self, count: int) -> list[float]:
        """Heights of slices that show the tumour, mm, at most 5 mm apart."""
        step = min(5.0, 1.3 * self.tumour.radius / max(count - 1, 1))
        return [self.tumour.z + (index - (count - 1) / 2) * step for index in range(count)]

    def beyond(self, count: int) -> list[float]:
        """Heights of slices that do not show the tumour: on the side of it that has more room."""
        side, reach = (-1 if self.tumour.z > 0 else 1), 1.4 * self.tumour.radius + 10
        return [float(np.clip(self.tumour.z + side * (reach + 5 * index), TOP_MM, BOTTOM_MM)) for index in range(count)]

    def write(self, path: Path, z: float, instance: int, packed: bool) -> Slice:
        """Draw a slice and write it as DICOM."""
        drawn = draw_slice(self.chest, z, self.size, self.tumour)
        uids = [new_uid(self.seed, self.number, part) for part in (instance, "study", "series")]
        owner, spacing = (f"Lung_Dx-{self.number}", f"Phantom^{self.number}"), self.chest.field / self.size
        at: dict[str, Any] = {"instance": instance, "spacing": spacing, "z": z}
        write_slice(_made(path), drawn.hu, uids=uids, owner=owner, packed=packed, **at)
        return drawn

    def annotate(self, folder: Path, drawn: Slice, instance: object) -> None:
        """Write the box of a slice that shows the tumour as Pascal VOC, with as little else as Lung-PET-CT-Dx has."""
        keys, box = ("xmin", "ymin", "xmax", "ymax"), drawn.box or ()
        edges = "".join(f"<{key}>{at}</{key}>" for key, at in zip(keys, box, strict=True))
        shape = f"<size><width>{self.size}</width><height>{self.size}</height><depth>1</depth></size>"
        found = f"<object><name>{self.tumour.subtype}</name><bndbox>{edges}</bndbox></object>"
        path = folder / self.number / f"{new_uid(self.seed, self.number, instance)}.xml"
        _made(path).write_text(f"<annotation><filename>Unknown</filename>{shape}{found}</annotation>\n")


def new_uid(*parts: object) -> str:
    """A DICOM UID that follows from `parts`: `2.25.` and a UUID as a number (PS3.5 B.2), at most 44 characters."""
    return f"2.25.{uuid.uuid5(_SPACE, '/'.join(map(str, parts))).int}"


def write_slice(
    path: Path, hu: NDArray[np.floating], *, uids: list[str], owner: tuple[str, str], instance: int, spacing: float,
    z: float, packed: bool,
) -> None:  # fmt: skip
    """Write an axial slice of HU as CT Image Storage: signed 16-bit, explicit VR little endian, the same bytes again.

    `uids` are those of slice, study and series, `owner` is PatientID and PatientName; `spacing` is the width of a pixel
    and `z` the height, mm, increasing to the feet; `packed` slices are run-length encoded, which loses nothing.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID(uids[0])
    # Else pydicom's own version would be part of the bytes.
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(new_uid("drunet")), "DRUNET"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(os.fspath(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, (image.SOPInstanceUID, image.StudyInstanceUID, image.SeriesInstanceUID) = CTImageStorage, uids
    (image.PatientID, image.PatientName), image.AccessionNumber = owner, f"ACC-{owner[0]}"[:16]
    # Every study was made on the same day: the date of drawing would change the bytes.
    image.StudyDate, image.StudyTime, image.Modality, image.Manufacturer = "20200102", "120000", "CT", "Phantom"
    image.SeriesNumber, image.InstanceNumber, image.FrameOfReferenceUID = 2, instance, new_uid("frame", uids[1])
    image.ImageType, image.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "AXIAL"], ["1", "0", "0", "0", "1", "0"]
    image.PixelSpacing, image.SliceThickness, (image.Rows, image.Columns) = [f"{spacing:.6f}"] * 2, "5", hu.shape
    # The patient lies on the back, so DICOM's z runs to the head.
    corner = (-spacing * hu.shape[1] / 2, -spacing * hu.shape[0] / 2, -z)
    image.ImagePositionPatient = [f"{at:.3f}" for at in corner]
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = str(INTERCEPT), "1", "HU"
    image.PixelData = np.clip(np.rint(hu) - INTERCEPT, 0, 4095).astype("<i2").tobytes()
    if packed:
        image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    image.save_as(path, enforce_file_format=True)


def draw_figures(name: str, count: int, size: int, seed: int) -> Iterator[tuple[Image.Image, dict[str, Any]]]:
    """Print slices of one patient with pneumonia as one journal does: pictures, and the options to save them with.

    Windowed, cropped, enlarged, lettered and compressed: nothing of the original's HU, size or margin is left, and
    every article has its own way. A classifier of disease may learn to tell such figures from a scanner's files.
    """
    rng, chest = np.random.default_rng([seed, zlib.crc32(name.encode())]), _chest(name, seed)
    finding, (centre, width) = chest.draw_finding(""), rng.choice(WINDOWS)
    margin, scale, step = rng.uniform([0.01, 0.85, 7], [0.22, 1.7, 18])
    cropped, lettered, coloured, jpeg = rng.random(4) < (0.65, 0.5, 0.5, 0.5)
    arrow, quality = ARROWS[rng.integers(4)], int(rng.integers(38, 90))
    for index in range(count):
        z = float(np.clip(finding.z + (index - (count - 1) / 2) * step, TOP_MM, BOTTOM_MM))
        drawn = draw_slice(chest, z, size, finding)
        grey = np.clip((drawn.hu - centre + width / 2) / width * 255, 0, 255).astype(np.uint8)
        ill = drawn.lung & (drawn.hu > -650) & (drawn.hu < 60)
        if cropped:
            # Crops of no two figures are quite alike.
            left, top, wide, high = cv2.boundingRect(drawn.lung.astype(np.uint8))
            more = (margin * max(wide, high) * rng.uniform(0.6, 1.4, 4)).astype(int)
            kept = np.s_[max(top - more[0], 0) : top + high + more[1], max(left - more[2], 0) : left + wide + more[3]]
            grey, ill = grey[kept], ill[kept]
        zoom = max(scale, SHORTEST / min(grey.shape))
        figure = cv2.resize(
            cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC
        )
        if arrow and ill.any():
            tip = rng.choice(np.argwhere(ill))[::-1] * zoom
            tail = tip + rng.uniform(-0.14, 0.14, 2) * figure.shape[0]
            start, end = (np.rint(place).astype(int).tolist() for place in (tail, tip))
            cv2.arrowedLine(figure, start, end, arrow, 1, cv2.LINE_AA, 0, 0.35)
        if lettered:
            cv2.putText(figure, "abcdef"[index % 6], (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 1, cv2.LINE_AA)
        # Colour where an arrow has one, and in some articles anyway.
        picture = Image.fromarray(figure).convert("RGB" if coloured or (arrow and len({*arrow}) > 1) else "L")
        yield picture, {"format": "JPEG", "quality": quality} if jpeg else {"format": "PNG"}


def _made(path: Path) -> Path:
    """A path whose folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _places(label: str, count: int, parts: Mapping[str, int], seed: int) -> Iterator[tuple[str, int]]:
    """Part and number for each image of a class, drawn at random: neither tells patient or article."""
    ends = np.rint(np.cumsum([*parts.values()]) / sum(parts.values()) * count).astype(int)
    sizes = np.diff(ends, prepend=0).tolist()
    dealt = [(part, number + 1) for part, many in zip(parts, sizes, strict=True) for number in range(many)]
    order = np.random.default_rng([seed, zlib.crc32(f"places of {label}".encode())]).permutation(count)
    return iter([dealt[place] for place in order])


def _chest(name: str, seed: int) -> Chest:
    return Chest(int(np.random.default_rng([seed, zlib.crc32(f"chest of {name}".encode())]).integers(2**31)))
