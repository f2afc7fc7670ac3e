"""The embedded CT set: chests in plausible HU, boxes that fit, files that others read, and sources that differ."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from defusedxml import ElementTree
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import UID, RLELossless
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from studies.common.drawing import ct
from studies.common.drawing.chest import GROWTHS, HIGHEST, LOWEST, Chest, Plane, draw_slice

PARTS = {"Training": 714, "Validation": 150, "Testing": 150}
CLASSES: dict[str, Any] = {"patients": 16, "slices": 2, "articles": 16, "figures": 2, "parts": PARTS}
BOXES: dict[str, Any] = {"patients": {"B": 2, "A": 1, "G": 1, "E": 1}, "slices": 2, "extra": 1, "strays": 2}
FEW = CLASSES | {"patients": 1, "articles": 2}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ct") / "set"
    ct.write_ct_set(folder, size=64, classifier=CLASSES, boxes=BOXES, seed=7)
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def edges(path: Path) -> tuple[int, ...]:
    (box,) = ElementTree.fromstring(path.read_text()).findall("object/bndbox")
    return tuple(int(str(box.findtext(edge))) for edge in ("xmin", "ymin", "xmax", "ymax"))


@pytest.mark.parametrize("seed", range(6))
def test_tissues_have_their_hounsfield_units(seed: int) -> None:
    chest, z, size = Chest(seed), -25.0 + 10 * seed, 128
    drawn, body = draw_slice(chest, z, size), Plane(chest, z, size).body
    assert drawn.hu.dtype == np.float32
    assert drawn.hu.min() >= LOWEST
    assert drawn.hu.max() <= HIGHEST
    deep = ndimage.binary_erosion(drawn.lung, iterations=4)
    assert -910 < np.median(drawn.hu[deep]) < -740
    above = (body < -30) & (np.indices(body.shape)[0] < size // 4)
    assert np.median(drawn.hu[above]) == pytest.approx(-1000, abs=25)
    assert (drawn.hu[body > 0] > 180).mean() > 0.02
    assert np.quantile(drawn.hu[body > 0], 0.995) > 280
    assert (drawn.hu[(body > 0) & ~drawn.lung] < -60).mean() > 0.05
    assert 0.15 < deep.sum() / (body > 0).sum() < 0.6


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(sorted(GROWTHS)), st.integers(1, 5))
@pytest.mark.slow
def test_a_box_is_the_extent_of_the_mass_and_the_mass_is_solid(seed: int, subtype: str, count: int) -> None:
    patient = ct.Patient(f"X{seed}", subtype, 96, seed)
    chest, tumour, z = patient.chest, patient.tumour, patient.heights(count)[-1]
    drawn = draw_slice(chest, z, 96, tumour)
    rows, columns = np.nonzero(drawn.tumour)
    assert drawn.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    # In mm, it is about the size of the ball that was cut (lobes, and the chest wall, take or add some of it).
    across = 2 * np.sqrt(tumour.radius**2 - (z - tumour.z) ** 2)
    found = max(np.ptp(columns), np.ptp(rows)) * chest.field / 96
    assert 0.4 * across - 5 < found < 1.45 * across + 8
    if subtype != "G" and drawn.tumour.sum() > 30:
        assert np.median(drawn.hu[ndimage.binary_erosion(drawn.tumour)]) == pytest.approx(40, abs=60)
    # What is beyond the tumour does not show it.
    assert all(draw_slice(chest, height, 96, tumour).box is None for height in patient.beyond(1))


@pytest.mark.slow
def test_subtypes_have_their_size_and_place_and_one_is_hollow() -> None:
    size, beside, air = {}, {}, {}
    for subtype in GROWTHS:
        patients = [(Chest(seed), Chest(seed).draw_finding(subtype)) for seed in range(12)]
        size[subtype] = np.mean([tumour.radius for _, tumour in patients])
        beside[subtype] = np.mean([abs(tumour.x) / chest.width for chest, tumour in patients])
        slices = [draw_slice(chest, tumour.z, 96, tumour) for chest, tumour in patients[:6]]
        air[subtype] = np.median([(drawn.hu[drawn.tumour] < -500).mean() for drawn in slices])
    assert size["A"] < 0.65 * min(size[s] for s in "BEG")
    assert max(beside[s] for s in "BG") + 0.05 < min(beside[s] for s in "AE")
    # A main bronchus may run through any.
    assert max(air[s] for s in "ABE") < 0.1 < 0.15 < air["G"]


def test_the_finding_changes_the_lung_and_nothing_far_from_it() -> None:
    chest = Chest(11)
    tumour, pneumonia = chest.draw_finding("E"), chest.draw_finding("")
    healthy, ill = draw_slice(chest, tumour.z, 96), draw_slice(chest, tumour.z, 96, tumour)
    far = ndimage.distance_transform_edt(~ill.tumour) > 2.2 * tumour.radius * 96 / chest.field
    # Blurring rounds differently beside other values.
    assert np.abs(healthy.hu - ill.hu)[far].max() < 0.01
    clear, inflamed = draw_slice(chest, pneumonia.z, 96), draw_slice(chest, pneumonia.z, 96, pneumonia)
    assert healthy.box is inflamed.box is None
    assert inflamed.hu[inflamed.lung].mean() > clear.hu[clear.lung].mean() + 40
    outside = ndimage.distance_transform_edt(~clear.lung) > 4
    assert np.abs(inflamed.hu - clear.hu)[outside].max() < 0.01


def test_slices_of_a_patient_are_more_alike_than_those_of_two() -> None:
    patients = [ct.Patient(f"B{seed}", "B", 64, seed) for seed in range(6)]
    slices = [draw_slice(p.chest, z, 64, p.tumour).hu.ravel() for p in patients for z in p.heights(3)]
    alike = np.corrcoef(np.array(slices)) - 2 * np.eye(len(slices))
    assert [nearest // 3 for nearest in alike.argmax(axis=1)] == [place // 3 for place in range(18)]


def test_a_slice_follows_from_its_seed_and_looks_alike_at_every_size() -> None:
    chest = Chest(5)
    tumour = chest.draw_finding("A")
    small, large = draw_slice(chest, tumour.z, 64, tumour), draw_slice(chest, tumour.z, 192, tumour)
    assert np.array_equal(small.hu, draw_slice(Chest(5), tumour.z, 64, Chest(5).draw_finding("A")).hu)
    assert not np.array_equal(small.hu, draw_slice(Chest(6), tumour.z, 64).hu)
    reduced = cv2.resize(large.hu, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(reduced.ravel(), small.hu.ravel())[0, 1] > 0.97
    assert np.abs(np.array(large.box) / 3 - np.array(small.box)).max() <= 1.5


@pytest.mark.parametrize("packed", [False, True])
def test_pydicom_reads_what_was_written(tmp_path: Path, packed: bool) -> None:
    hu, uids = np.linspace(-1024, 3071, 40 * 50).reshape(40, 50) + 0.3, [ct.new_uid("a", part) for part in range(3)]
    path = tmp_path / "a.dcm"
    ct.write_slice(path, hu, uids=uids, owner=("P1", "Phantom^One"), instance=3, spacing=0.75, z=12.0, packed=packed)
    image = pydicom.dcmread(path)
    read = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    assert np.array_equal(read, np.clip(np.rint(hu), -1024, 3071))
    assert (image.file_meta.TransferSyntaxUID == RLELossless) == packed
    assert image.SOPInstanceUID == image.file_meta.MediaStorageSOPInstanceUID == uids[0]
    assert (image.PixelSpacing, image.ImagePositionPatient) == ([0.75, 0.75], [-18.75, -15, -12])
    assert (image.Rows, image.Columns, image.InstanceNumber) == (40, 50, 3)


@given(st.text(), st.integers())
def test_uids_are_valid_and_follow_from_their_parts(text: str, number: int) -> None:
    uid = ct.new_uid(text, number)
    assert UID(uid).is_valid
    assert uid == ct.new_uid(text, number) != ct.new_uid(text, number + 1)


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes_and_no_patient_depends_on_another(written: Path, tmp_path: Path) -> None:
    sets = {}
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        ct.write_ct_set(tmp_path / name, size=64, classifier=FEW, boxes=BOXES | {"patients": {"B": 1}}, seed=seed)
        sets[name] = digests(tmp_path / name)
    assert sets["one"] == sets["again"]
    assert not set(sets["one"].values()) & set(sets["other"].values())
    first = {file: digest for file, digest in sets["one"].items() if file.startswith("boxes/Lung_Dx-B0001")}
    assert first.items() <= digests(written).items()
    assert len(first) == 3


def test_the_classifier_set_is_laid_out_as_the_papers_and_parts_share_patients(written: Path) -> None:
    sources = pd.read_csv(written / "classifier_sources.tsv", sep="\t")
    files = sorted(p.relative_to(written / "classifier").as_posix() for p in (written / "classifier").rglob("*.*"))
    assert files == sources["file"].tolist()
    # 32 of each class, by 714 : 150 : 150.
    wanted = {"Training": 23, "Validation": 4, "Testing": 5}
    counted = Counter(tuple(file.split("/")[:2]) for file in files)
    assert counted == {(part, label): n for part, n in wanted.items() for label in ("Cancer", "Non-cancer")}
    assert sources["source"].value_counts().to_dict() == {
        name: 2 for n in range(1, 17) for name in (f"patient C{n:04d}", f"article {n:03d}")
    }
    part = sources["file"].str.split("/").str[0]
    assert len(set(zip(sources["source"], part, strict=True))) > sources["source"].nunique()


def test_annotations_match_slices_by_uid_but_for_what_was_left_unmatched(written: Path) -> None:
    for name, slices, matched, strays in (("classifier", 32, 32, 0), ("boxes", 15, 10, 2)):
        images = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, (written / name).rglob("*.dcm"))}
        annotations = {path.stem: path for path in (written / f"{name}_annotation").rglob("*.xml")}
        both = images.keys() & annotations.keys()
        assert (len(images), len(both), len(annotations)) == (slices, matched, matched + strays)
        for uid in both:
            xmin, ymin, xmax, ymax = edges(annotations[uid])
            assert 0 <= xmin < xmax <= images[uid].Columns
            assert 0 <= ymin < ymax <= images[uid].Rows
            number = annotations[uid].parent.name
            assert images[uid].PatientID == f"Lung_Dx-{number}"
            subtype = ElementTree.fromstring(annotations[uid].read_text()).findtext("object/name")
            assert subtype == number[0] if name == "boxes" else subtype in GROWTHS
            if name == "boxes":
                assert f"boxes/Lung_Dx-{number}/" in str(images[uid].filename)


def test_two_slices_are_compressed_and_every_patient_has_a_name_that_must_not_leak(written: Path) -> None:
    images = [pydicom.dcmread(path) for path in written.rglob("*.dcm")]
    assert sum(image.file_meta.TransferSyntaxUID == RLELossless for image in images) == 2
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    assert all(str(image.PatientName).startswith("Phantom^") for image in images)
    owners = {(str(image.SeriesInstanceUID), str(image.PatientID)) for image in images}
    assert len(owners) == len({series for series, _ in owners}) == 16 + 5


def seen(path: Path) -> NDArray[np.float64]:
    """Grey 0-1, as the study sees it."""
    if path.suffix == ".dcm":
        return np.clip((pydicom.dcmread(path).pixel_array - 1024 + 1350) / 1500, 0, 1)
    return np.asarray(Image.open(path).convert("L"), np.float64) / 255


def test_the_border_tells_the_source_and_figures_differ_between_articles(written: Path) -> None:
    table = pd.read_csv(written / "classifier_sources.tsv", sep="\t")
    paths = [written / "classifier" / file for file in table["file"]]
    figures = [(Image.open(p), source) for p, source in zip(paths, table["source"], strict=True) if p.suffix != ".dcm"]
    assert len({image.size for image, _ in figures}) > len(figures) / 2
    assert {image.format for image, _ in figures} == {"PNG", "JPEG"}
    assert min(min(image.size) for image, _ in figures) >= 40
    assert len({(source, image.mode, image.format) for image, source in figures}) == 16
    assert {image.mode for image, _ in figures} == {"L", "RGB"}
    assert any(np.ptp(np.asarray(image).astype(int), axis=2).max() > 60 for image, _ in figures if image.mode == "RGB")
    images = [cv2.resize(seen(path), (40, 40), interpolation=cv2.INTER_AREA) for path in paths]
    outer = np.ones((40, 40), bool)
    outer[4:-4, 4:-4] = False
    border = [[*np.quantile(image[outer], [0.1, 0.5, 0.9]), image[outer].std()] for image in images]
    model, folds = make_pipeline(StandardScaler(), LogisticRegression()), StratifiedGroupKFold(4)
    cancer = table["file"].str.contains("/Cancer/")
    told = [
        float(np.mean(cross_val_score(model, features, cancer, groups=table["source"], cv=folds)))
        for features in (border, [[image.mean()] for image in images])
    ]
    assert told[0] > 0.75
    assert told[1] < 0.7


def test_a_stopped_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: dict[str, Any] = {"size": 64, "classifier": FEW, "boxes": BOXES, "seed": 1}
    monkeypatch.setattr(ct.Patient, "annotate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ct.write_ct_set(tmp_path / "set", **wanted)
    assert not list(tmp_path.iterdir())
