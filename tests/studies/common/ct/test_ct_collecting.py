from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ct_writer import SECRETS, body, uid_of, write_slice, write_voc
from PIL import Image
from pydicom import uid as uids
from pydicom.fileset import FileSet

from drunet.files import write_json
from studies.common.ct.annotation import Boxes
from studies.common.ct.dicom import read_slice
from studies.common.ct.window import Window
from studies.common.errors import CtError
from studies.common.images.content import content_state
from studies.common.images.file_facts import _quality_tables, picture_facts
from studies.common.images.folder import list_images, read_image, read_list, write_list
from studies.ct_boxes.collecting import choose_box, collect_slices, subtype_letter
from studies.ct_pneumonia.collecting import collect_images
from studies.ct_pneumonia.selection import ClassDraw, choose

REAL = Path(__file__).parents[4] / ".." / "shared" / "data" / "ct"
LUNG = Window(centre=-600, width=1500)
BOX = (3, 4, 20, 30)
Run = Callable[..., Any]
# A path that the file system does not take: asked about it, pathlib raises an error that repeats it.
TOO_LONG = "Doe^Jane" * 40


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Patients B0001 to B0003 with four slices each and A0001 with two; all but the last of each have a box."""
    root = tmp_path / "patients"
    for p, (patient, count) in enumerate([("B0001", 4), ("B0002", 4), ("B0003", 4), ("A0001", 2)]):
        for k in range(count):
            number = 100 * p + k
            path = root / f"Lung_Dx-{patient}" / "series" / f"1-{k:02d}.dcm"
            ids: dict[str, Any] = {"SOPInstanceUID": uid_of(number), "PatientID": f"Lung_Dx-{patient}"}
            write_slice(path, body(number), **ids)
            if k < count - 1:
                write_voc(root / "Annotation" / patient, uid_of(number), BOX, name=patient[0])
    return root


@pytest.fixture
def collect(tmp_path: Path, series: Path) -> Run:
    def run(**changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
        settings: dict[str, Any] = {
            "window": LUNG,
            "subtypes": ["B", "A"],
            "at_most": None,
            "rule": "largest",
            "seed": 1,
        }
        settings |= {"max_unreadable": 0.0, "where": "slices", "annotations": None, "root": series} | changes
        root, annotations = settings.pop("root"), settings.pop("annotations")
        folder = settings.pop("folder", tmp_path / "out" / "collected")
        shutil.rmtree(folder, ignore_errors=True)
        return collect_slices(root, annotations, folder, **settings)

    return run


def refused(run: Run, match: str, tmp_path: Path, **changes: Any) -> None:
    with pytest.raises(CtError, match=match) as caught:
        run(**changes)
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path) not in message
    assert not any(secret in message for secret in (*SECRETS, "B0001", "1-00.dcm"))
    assert not list((tmp_path / "out").rglob("*.png")), "half of it was written"


def files_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_slices_and_boxes_are_matched_by_uid_and_written_as_grey(collect: Run, tmp_path: Path) -> None:
    table, matching = collect()
    assert table["subtype"].value_counts().to_dict() == {"B": 9, "A": 1}
    assert table["patient"].nunique() == 4 and set(table["patient"]) == {1, 2, 3, 4}
    assert matching["slices"] == matching["annotated"] == 10 and matching["dicom_without_annotation"] == 4
    assert matching["subtypes"] == {"A": 1, "B": 9} and matching["rule"] == "largest"
    assert (table[["xmin", "ymin", "xmax", "ymax"]] == list(BOX)).all(axis=None) and (table["boxes"] == 1).all()
    folder = tmp_path / "out" / "collected"
    assert sorted(p.name for p in folder.iterdir()) == sorted(table["file"])
    listed = sorted((p for p in (tmp_path / "patients").rglob("*") if p.is_file()), key=lambda p: str(p).encode())
    for row in table.itertuples():
        picture = Image.open(folder / row.file)
        assert picture.mode == "L" and picture.size == (row.width, row.height) == (48, 40)
        # The number of a picture is that of its file in the list of all.
        original = listed[int(row.file[:-4]) - 1]
        k = int(original.stem[2:])
        number = 100 * {"B0001": 0, "B0002": 1, "B0003": 2, "A0001": 3}[original.parts[-3][-5:]] + k
        assert np.array_equal(np.asarray(picture), LUNG.grey(body(number).astype(float) - 1024))


def test_equal_settings_give_equal_files_and_a_draw_of_one_subtype_depends_on_no_other(
    collect: Run, tmp_path: Path
) -> None:
    first, _ = collect(at_most=4)
    files = files_of(tmp_path / "out")
    again, matching = collect(at_most=4)
    assert first.equals(again) and files == files_of(tmp_path / "out")
    assert matching["left_out"] == 5 and first["subtype"].value_counts().to_dict() == {"B": 4, "A": 1}
    alone, matching = collect(at_most=4, subtypes=["B"])
    assert alone["file"].tolist() == first.loc[first["subtype"] == "B", "file"].tolist()
    assert matching["other_subtype"] == 1
    draws = {tuple(collect(at_most=4, seed=seed)[0]["file"]) for seed in range(6)}
    assert len(draws) > 1


def test_what_lacks_its_counterpart_or_is_no_slice_is_counted(collect: Run, series: Path) -> None:
    notes = series / "Annotation" / "B0001"
    write_voc(notes, uid_of(999), BOX)
    write_voc(notes, "slice 4", BOX)
    write_voc(series / "Annotation" / "again", uid_of(0), (1, 1, 2, 2))
    own = series / "Lung_Dx-B0001" / "other"
    pet: dict[str, Any] = {"SOPClassUID": uids.PositronEmissionTomographyImageStorage, "Modality": "PT"}
    write_slice(own / "pet.dcm", body(1), SOPInstanceUID=uid_of(50), **pet)
    write_slice(own / "plan", body(1), SOPInstanceUID=uid_of(51), SOPClassUID=uids.RTStructureSetStorage)
    write_slice(own / "twice.dcm", body(1), SOPInstanceUID=uid_of(1))
    (own / "README").write_text("no DICOM")
    (own / ".DS_Store").write_bytes(b"x")
    _, matching = collect()
    expected = {"annotation_without_dicom": 1, "wrong_names": 1, "duplicate_annotations": 1, "not_ct": 2}
    expected |= {"duplicates": 1, "unreadable": 0, "dicom_without_annotation": 4, "slices": 10}
    assert {key: matching[key] for key in expected} == expected


def test_annotations_may_lie_in_a_folder_of_their_own(collect: Run, series: Path, tmp_path: Path) -> None:
    before, _ = collect()
    shutil.move(series / "Annotation", tmp_path / "boxes")
    after, _ = collect(annotations=tmp_path / "boxes")
    columns = ["subtype", "patient", "xmin", "ymax"]
    assert before[columns].equals(after[columns])


@pytest.mark.parametrize(
    ("rule", "box"), [("largest", [10, 10, 30, 30]), ("union", [2, 3, 30, 35]), ("first", [2, 3, 5, 9])]
)
def test_a_rule_chooses_the_box_of_a_slice_with_several(
    collect: Run, series: Path, rule: str, box: list[float]
) -> None:
    several = [(2, 3, 5, 9), (10, 10, 30, 30), (20, 30, 25, 35), (7, 7, 7, 9), (90, 90, 99, 99)]
    write_voc(series / "Annotation" / "A0001", uid_of(300), *several, name="A")
    table, matching = collect(rule=rule)
    row = table[table["subtype"] == "A"].iloc[0]
    assert row[["xmin", "ymin", "xmax", "ymax"]].tolist() == box and row["boxes"] == 3
    assert (matching["several_boxes"], matching["empty_boxes"], matching["outside_boxes"]) == (1, 1, 1)
    boxes = Boxes(np.array(several[:3], float), ("A",) * 3, 0, 0)
    assert choose_box(boxes, rule).tolist() == box


def test_a_slice_whose_boxes_are_all_useless_is_left_out(collect: Run, series: Path) -> None:
    write_voc(series / "Annotation" / "B0001", uid_of(0), (7, 7, 7, 9))
    table, matching = collect()
    assert len(table) == 9 and matching["without_box"] == 1 and matching["annotated"] == 10


def test_the_folder_of_the_patient_tells_the_subtype_before_the_name_of_the_box(collect: Run, series: Path) -> None:
    write_voc(series / "Annotation" / "B0001", uid_of(0), BOX, name="A")
    table, matching = collect()
    assert matching["subtype_differs"] == 1 and (table["subtype"] == "B").sum() == 9
    assert subtype_letter(["2024", "Lung_Dx-G0007", "1.000000-A0001"], "ABEG") == "G"
    assert subtype_letter(["T0001", "x-e0123"], "ABEG") == "E"
    assert subtype_letter(["S2024", "Lung_Dx-G0007"], "AB") == "G", "a subtype that is not wanted is one all the same"
    assert subtype_letter(["T0001", "CT_8mm_B40f"], "ABEG") is None
    assert subtype_letter(["patient 1", "B40f", "series"], "ABEG") is None


@pytest.mark.parametrize("folder", ["plain", "S2024/P0001"])
def test_without_a_letter_of_a_subtype_the_name_of_the_box_tells(tmp_path: Path, collect: Run, folder: str) -> None:
    root = tmp_path / "root"
    for k, name in enumerate(("b", "A", "tumour")):
        write_slice(root / folder / f"{k}.dcm", body(k), SOPInstanceUID=uid_of(k), PatientID=f"P000{k}")
        write_voc(root / folder, uid_of(k), BOX, name=name)
    table, matching = collect(root=root)
    assert table["subtype"].tolist() == ["B", "A"] and matching["no_subtype"] == 1
    # What the patient's name says comes before it, wanted or not.
    write_slice(root / "Lung_Dx-G0001" / "3.dcm", body(3), SOPInstanceUID=uid_of(3), PatientID="3")
    write_voc(root, uid_of(3), BOX, name="A")
    table, matching = collect(root=root)
    assert table["subtype"].tolist() == ["B", "A"] and matching["other_subtype"] == 1


def test_all_slices_of_a_patient_are_of_one_subtype(tmp_path: Path, collect: Run) -> None:
    root, number = tmp_path / "root", 0
    # Patient and the names of his slices' boxes; no folder and no ID holds a letter.
    for patient, names in (("1", "ABB"), ("2", "BA"), ("3", "B"), ("4", ["A", "tumour"]), ("5", "AGG")):
        for name in names:
            write_slice(root / f"{number:02d}.dcm", body(number), SOPInstanceUID=uid_of(number), PatientID=patient)
            write_voc(root / "notes", uid_of(number), BOX, name=name)
            number += 1
    table, matching = collect(root=root)
    assert table.groupby("patient")["subtype"].unique().str.join("").to_dict() == {1: "B", 2: "A", 3: "B", 4: "A"}
    assert table["patient"].value_counts().to_dict() == {1: 3, 2: 2, 3: 1, 4: 2}
    # One box of each of patients 1, 2 and 5 was named otherwise; most of the last one's are of a subtype not asked for.
    assert (matching["subtype_differs"], matching["other_subtype"], matching["no_subtype"]) == (3, 3, 0)
    # What a folder tells of some slices comes before what boxes tell of others.
    (root / "B0001").mkdir()
    (root / "00.dcm").rename(root / "B0001" / "00.dcm")
    (root / "04.dcm").rename(root / "B0001" / "04.dcm")
    table, _ = collect(root=root)
    assert table["subtype"].value_counts().to_dict() == {"B": 6, "A": 2}


def test_slices_without_a_patient_id_are_counted(collect: Run, series: Path) -> None:
    assert collect()[1]["without_patient"] == 0
    series_alone = {"StudyInstanceUID": None, "SeriesInstanceUID": uid_of(60)}
    for k, ids in enumerate(({}, series_alone, {"StudyInstanceUID": None, "SeriesInstanceUID": None})):
        path = series / "Lung_Dx-B0001" / "series" / f"1-{k:02d}.dcm"
        write_slice(path, body(k), **{"SOPInstanceUID": uid_of(k), "PatientID": "", **ids})
    table, matching = collect()
    assert matching["without_patient"] == 3 and matching["patients"] == table["patient"].nunique() == 6


def write_directory(path: Path) -> None:
    """A DICOMDIR, as discs have one at their top."""
    (path.parent / "disc").mkdir(parents=True)
    FileSet().write(path.parent / "disc")
    shutil.move(path.parent / "disc" / "DICOMDIR", path)
    (path.parent / "disc").rmdir()


def test_the_directory_of_a_disc_is_no_slice_and_not_unreadable(
    collect: Run, gather: Run, series: Path, classes: Path
) -> None:
    write_directory(series / "DICOMDIR")
    _, matching = collect()
    assert (matching["not_ct"], matching["unreadable"]) == (1, 0)
    write_directory(classes / "Training" / "Cancer" / "DICOMDIR")
    # Above the parts, where an image would be in none.
    write_directory(classes / "Cancer" / "a.dcm")
    facts = gather().facts
    assert (facts["images"], facts["unreadable"]) == (8, 0)


def test_unreadable_files_are_refused_by_number_or_counted_up_to_the_limit(
    collect: Run, series: Path, tmp_path: Path
) -> None:
    spoilt = series / "Lung_Dx-B0001" / "series" / "1-00.dcm"
    whole = spoilt.read_bytes()
    for text in (b"no DICOM", whole[:-50]):
        spoilt.write_bytes(text)
        refused(collect, r"slices.root: too many .*1 of 14, at most 0.00% allowed; the first is file", tmp_path)
        table, matching = collect(max_unreadable=0.1)
        assert matching["unreadable"] == 1 and len(table) == 9
        shutil.rmtree(tmp_path / "out")
    spoilt.write_bytes(whole)
    (series / "Annotation" / "B0002" / f"{uid_of(100)}.xml").write_text("<!DOCTYPE a><annotation/>")
    refused(collect, r"1 of 10, .*declares a document type", tmp_path)
    write_voc(series / "Annotation" / "B0002", uid_of(100), BOX, size=(512, 512))
    refused(collect, r"1 of 10, .*another size than its slice", tmp_path)
    assert collect(max_unreadable=0.1)[1]["unusable_annotations"] == 1


def test_what_cannot_be_matched_is_refused(collect: Run, series: Path, tmp_path: Path) -> None:
    refused(
        collect, r"subtype has no annotated slice .*G; there are 1 of A, 9 of B", tmp_path, subtypes=["B", "A", "G"]
    )
    refused(collect, "slices.root: there is no such folder", tmp_path, root=tmp_path / "none")
    refused(collect, "slices.annotations: there is no such folder", tmp_path, annotations=tmp_path / "none")
    refused(collect, "slices.root: there is no such folder", tmp_path, root=tmp_path / TOO_LONG)
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(collect, "there is no DICOM file", tmp_path, root=empty)
    refused(collect, r"no slice has an annotation .*14 CT slices, 0 annotations", tmp_path, annotations=empty)
    shutil.rmtree(series / "Lung_Dx-A0001" / "series")
    write_slice(series / "Lung_Dx-A0001" / "a.dcm", body(1), SOPInstanceUID=uid_of(300), RescaleSlope=0)
    refused(collect, "no annotated slice of a subtype can be read .*A", tmp_path, max_unreadable=0.5)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Cancer in DICOM of two patients, one with a box, and Non-cancer as figures, in the three parts."""
    root = tmp_path / "images"
    for k, part in enumerate(("Training", "Training", "Validation", "Testing")):
        ids: dict[str, Any] = {"SOPInstanceUID": uid_of(k), "PatientID": SECRETS[0] if k < 2 else "Roe"}
        write_slice(root / part / "Cancer" / f"{SECRETS[1]}_{k}.dcm", body(k), **ids)
        figure = (np.random.default_rng(k).random((30 + k, 20, 3)) * 255).astype(np.uint8)
        path = root / part / "Non-cancer" / f"{k}.{'png' if k % 2 else 'jpeg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure if k else figure[..., 0]).save(path)
    write_voc(tmp_path / "notes" / SECRETS[0], uid_of(1), BOX, (1, 2, 9, 9))
    write_voc(tmp_path / "notes", uid_of(77), BOX)
    return root


def collected(*given: Any, **settings: Any) -> SimpleNamespace:
    """What was collected, by name."""
    found = collect_images(*given, **settings)
    return SimpleNamespace(**dict(zip(("sources", "boxes", "unreadable", "facts"), found, strict=True)))


@pytest.fixture
def gather(tmp_path: Path, classes: Path) -> Run:
    def run(**changes: Any) -> SimpleNamespace:
        settings: dict[str, Any] = {"window": LUNG, "annotations": None, "sources": None, "max_unreadable": 0.0}
        settings |= {"where": "collect", "classes": ["Non-cancer", "Cancer"], "root": classes} | changes
        root, names = settings.pop("root"), settings.pop("classes")
        folder = tmp_path / "out" / "collected"
        shutil.rmtree(folder, ignore_errors=True)
        return collected(root, names, folder, **settings)

    return run


def test_images_of_all_kinds_become_grey_pictures_with_neutral_names(
    gather: Run, tmp_path: Path, classes: Path
) -> None:
    found = gather(annotations=tmp_path / "notes")
    table = found.sources.set_index("file")
    folder = tmp_path / "out" / "collected"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png")) == list(table.index)
    assert found.facts["classes"] == {"Non-cancer": 4, "Cancer": 4} and found.facts["dicom"] == 4
    assert table["part"].value_counts().to_dict() == {"training": 4, "validation": 2, "test": 2}
    listed = sorted((p for p in classes.rglob("*") if p.is_file()), key=lambda p: str(p).encode())
    for file, row in table.iterrows():
        original = listed[int(str(file)[-9:-4]) - 1]
        pixels = np.asarray(Image.open(folder / str(file)))
        assert pixels.dtype == np.uint8 and pixels.shape == (row["height"], row["width"])
        assert row["label"] == original.parent.name and row["bytes"] == original.stat().st_size
        if row["format"] == "dicom":
            expected = LUNG.grey(body(int(original.stem[-1])).astype(float) - 1024)
            assert (row["bits"], row["channels"], row["coloured"]) == (12, 1, 0)
        else:
            expected = np.asarray(Image.open(original).convert("L"))
            assert row["format"] == original.suffix[1:]
        assert np.abs(pixels.astype(int) - expected).max() <= 1
        assert row["bits_per_pixel"] == 8 * row["bytes"] / pixels.size and row["aspect"] == row["width"] / row["height"]
    number = next(i for i, p in enumerate(listed, 1) if p.stem.endswith("_1"))
    assert found.boxes.to_numpy().tolist() == [
        [f"Cancer/{number:05d}.png", *BOX],
        [f"Cancer/{number:05d}.png", 1, 2, 9, 9],
    ]
    assert (found.facts["annotated"], found.facts["annotation_without_dicom"]) == (1, 1)
    # What comes after reads the collected folder as any other set of images.
    images, unreadable = list_images(folder, ["Non-cancer", "Cancer"], max_unreadable=0.0, where="it", threads=1)
    assert images["file"].tolist() == list(table.index) and unreadable.empty


def test_dicom_is_told_by_content_and_counts_without_a_suffix(gather: Run, classes: Path) -> None:
    for path in list(classes.rglob("*.dcm")):
        path.rename(path.with_name(path.stem))
    (classes / "Training" / "Cancer" / "Thumbs.db").write_bytes(b"x")
    assert gather().facts["dicom"] == 4


def test_an_image_belongs_to_the_nearest_folder_that_is_a_class(gather: Run, classes: Path) -> None:
    (classes / "Training" / "Cancer" / "of one").mkdir()
    shutil.move(classes / "Training" / "Non-cancer", classes / "Training" / "Cancer" / "of one" / "Non-cancer")
    assert gather().facts["classes"] == {"Non-cancer": 4, "Cancer": 4}


def test_sources_are_patients_or_what_the_table_says_by_number_only(gather: Run, classes: Path) -> None:
    found = gather()
    cancer = found.sources[found.sources["label"] == "Cancer"]
    assert cancer["source"].value_counts().tolist() == [2, 2] and set(cancer["source"]) == {"1", "2"}
    assert (found.sources.loc[found.sources["label"] == "Non-cancer", "source"] == "").all()
    assert (found.facts["sources"], found.facts["without_source"]) == (2, 4)
    rows = [
        ("0.jpeg", "article x"),
        ("Non-cancer/1.png", "article x"),
        ("Validation/Non-cancer/2.jpeg", "article y"),
        ("gone.png", "z"),
    ]
    assert sources_by_table(gather, classes, *rows) == {
        "Training/Cancer/0": "1",
        "Training/Cancer/1": "1",
        "Training/Non-cancer/0": "2",
        "Training/Non-cancer/1": "2",
        "Validation/Cancer/2": "3",
        "Validation/Non-cancer/2": "4",
        "Testing/Cancer/3": "3",
        "Testing/Non-cancer/3": "",
    }


def sources_by_table(gather: Run, classes: Path, *rows: tuple[str, str]) -> dict[str, str]:
    """Source of each original file with a table of these rows; sources are numbered anew in the order of the keys."""
    path = classes.parent / "sources.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in [("file", "source"), *rows]))
    listed = sorted((p for p in classes.rglob("*") if p.is_file()), key=lambda p: str(p).encode())
    found: dict[str, str] = {}
    for file, source in gather(sources=path).sources.set_index("file")["source"].items():
        original = listed[int(str(file)[-9:-4]) - 1].relative_to(classes)
        found[str(original.with_name(original.stem[-1]))] = source
    parts = ("Training", "Validation", "Testing")
    found = {key: found[key] for key in sorted(found, key=lambda key: (parts.index(key.partition("/")[0]), key))}
    numbers = {source: str(k) for k, source in enumerate(dict.fromkeys(filter(None, found.values())), start=1)}
    return {key: numbers.get(source, "") for key, source in found.items()}


def test_the_table_of_sources_comes_before_the_patient_and_divides_none_whom_it_names_in_part(
    gather: Run, classes: Path
) -> None:
    # Slices 0 and 1 are of one patient, 2 and 3 of another.
    names = [f"{SECRETS[1]}_{k}.dcm" for k in range(4)]

    def cancer(*rows: tuple[str, str]) -> list[str]:
        return [source for key, source in sources_by_table(gather, classes, *rows).items() if "/Cancer/" in key]

    assert cancer((names[0], "x")) == ["1", "1", "2", "2"]
    assert cancer((names[0], "x"), (names[2], "x")) == ["1"] * 4
    assert cancer((names[2], SECRETS[0])) == ["1"] * 4, "a patient of the table's text is the same one"
    assert cancer(*zip(names, "xyxy", strict=True)) == ["1", "2", "1", "2"], "named in full, the table is followed"
    write_slice(classes / "Testing" / "Cancer" / "4.dcm", body(4), SOPInstanceUID=uid_of(4), PatientID=SECRETS[0])
    assert cancer((names[0], "x"), (names[1], "y"), ("3.jpeg", "y"), (names[2], "y")) == ["1"] * 5


def test_a_slice_that_names_no_patient_is_its_studys_or_seriess_and_else_of_no_known_source(
    gather: Run, classes: Path
) -> None:
    assert gather().facts["without_patient"] == 0
    none = {"StudyInstanceUID": None, "SeriesInstanceUID": None}
    for k, ids in enumerate(({"StudyInstanceUID": uid_of(9)}, {"StudyInstanceUID": uid_of(9)}, none, none)):
        path = next(classes.rglob(f"*_{k}.dcm"))
        write_slice(path, body(k), **{"SOPInstanceUID": uid_of(k), "PatientID": "", **ids})
    found = gather()
    sources = found.sources.loc[found.sources["label"] == "Cancer", "source"]
    assert sorted(sources) == ["", "", "1", "1"]
    assert (found.facts["without_patient"], found.facts["without_source"]) == (4, 6)


@pytest.fixture
def collection(tmp_path: Path, classes: Path) -> Path:
    """Cancer as a collection: five patients of 2, 3, 4, 5 and 6 slices, all but the first of each with a box."""
    shutil.rmtree(classes)
    for p in range(5):
        own = classes / "Cancer" / f"Lung_Dx-A000{p}"
        for k in range(p + 2):
            ids: dict[str, Any] = {"SOPInstanceUID": uid_of(100 * p + k), "PatientID": f"Lung_Dx-A000{p}"}
            write_slice(own / f"1-{k}.dcm", body(k), **ids)
            if k:
                write_voc(tmp_path / "notes" / f"A000{p}", uid_of(100 * p + k), BOX)
        pet: dict[str, Any] = {"SOPClassUID": uids.PositronEmissionTomographyImageStorage, "Modality": "PT"}
        write_slice(own / "pet.dcm", body(1), SOPInstanceUID=uid_of(900 + p), **pet)
    # A slice that was looked at and has no tumour, and one that is there twice.
    write_voc(tmp_path / "notes", uid_of(400))
    write_slice(classes / "Cancer" / "again.dcm", body(1), SOPInstanceUID=uid_of(401), PatientID="Lung_Dx-A0004")
    for k in range(12):
        path = classes / "Non-cancer" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30), k, np.uint8)).save(path)
    return tmp_path / "notes"


def test_patients_and_annotated_slices_are_drawn_from_a_collection(gather: Run, collection: Path) -> None:
    everything = gather(annotations=collection)
    assert everything.facts["classes"]["Cancer"] == 21 and everything.facts["passed_over"] == 5
    plan = ClassDraw(annotated=True, patients=4, images=7)
    found = gather(annotations=collection, draw={"Cancer": plan}, seed=3)
    cancer = found.sources[found.sources["label"] == "Cancer"]
    # In rounds: of four patients two or, where there is only one, that one, until there are seven.
    assert len(cancer) == 7 and cancer["source"].nunique() == 4 and cancer["source"].value_counts().max() <= 3
    assert set(found.boxes["file"]) == set(cancer["file"])
    assert found.facts["classes"] == {"Non-cancer": 12, "Cancer": 7}
    counts = {"passed_over": 5, "unreadable": 0, "duplicates": 1, "annotation_without_dicom": 1, "without_patient": 0}
    assert {key: found.facts[key] for key in counts} == counts
    # 1 + 2 + 3 + 4 + 5 slices have a box; the empty annotation is none.
    assert found.facts["drawn"] == {"Cancer": {"of_images": 15, "of_sources": 5, "images": 7, "sources": 4}}
    again = gather(annotations=collection, draw={"Cancer": plan}, seed=3)
    pd.testing.assert_frame_equal(found.sources, again.sources)
    others = [gather(annotations=collection, draw={"Cancer": plan}, seed=s).sources["file"].tolist() for s in range(4)]
    assert len({tuple(files) for files in others}) > 1


def test_classes_are_balanced_by_whole_rounds_of_patients(gather: Run, collection: Path) -> None:
    found = gather(annotations=collection, balance=True, seed=1)
    assert found.facts["classes"] == {"Non-cancer": 12, "Cancer": 12}
    cancer = found.sources[found.sources["label"] == "Cancer"]
    # 2, 3, 4, 5 and 6 slices: two rounds of five, and two more.
    assert sorted(cancer["source"].value_counts()) == [2, 2, 2, 3, 3]
    plans = {"Cancer": ClassDraw(annotated=True), "Non-cancer": ClassDraw(images=9)}
    found = gather(annotations=collection, draw=plans, balance=True, seed=1)
    assert found.facts["classes"] == {"Non-cancer": 9, "Cancer": 9} and len(found.boxes) == 9


@pytest.mark.parametrize(
    ("plan", "match"),
    [
        ({"annotated": True, "patients": 6}, r"draw\.Cancer\.patients: fewer .*annotated CT slices of 5 patients"),
        ({"annotated": True, "images": 16}, r"draw\.Cancer\.images: fewer .*15 annotated CT slices"),
        ({"per_patient": 2, "images": 11}, r"draw\.Cancer\.images: fewer .*10 images"),
    ],
)
def test_a_draw_of_more_than_there_is_is_refused(
    gather: Run, collection: Path, tmp_path: Path, plan: dict[str, Any], match: str
) -> None:
    refused(gather, f"collect.{match}", tmp_path, annotations=collection, draw={"Cancer": ClassDraw(**plan)})


def test_rounds_take_one_image_of_each_patient_in_turn() -> None:
    sources = {n: "a" if n < 10 else "b" if n < 12 else "c" for n in range(15)}
    drawn = choose(sources, ClassDraw(images=8), np.random.default_rng(0))
    assert drawn == sorted(set(drawn))
    assert pd.Series([sources[n] for n in drawn]).value_counts().to_dict() == {"a": 3, "b": 2, "c": 3}
    few = choose(sources, ClassDraw(patients=2, per_patient=1), np.random.default_rng(0))
    assert len(few) == len({sources[n] for n in few}) == 2
    assert choose(sources, ClassDraw(), np.random.default_rng(0)) == list(range(15))


def test_a_quote_in_a_table_swallows_no_row(gather: Run, classes: Path, tmp_path: Path) -> None:
    found = sources_by_table(gather, classes, ("0.jpeg", '"x'), ("1.png", 'a 5" cut'), ("2.jpeg", '"x'))
    assert [source for key, source in found.items() if "Non" in key] == ["2", "3", "2", ""]
    (tmp_path / "s.csv").write_text('"file","source"\n0.jpeg,"x, y"\n1.png,"x, y"\n')
    assert gather(sources=tmp_path / "s.csv").facts["sources"] == 3
    for text in ('file,source\n0.jpeg,"x\n1.png,y\n', 'file,source\n0.jpeg,"x\n1.png,"y\n'):
        (tmp_path / "s.csv").write_text(text)
        refused(gather, r"collect.sources: .*cannot be read \(found: Error\)", tmp_path, sources=tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file\tgroup\na\tb\n", "lacks source"),
        ("", "lacks file and source"),
        (b"\xff\xfe", "cannot be read"),
        ("file\tsource\nnone.png\tx\n", "names no image"),
        ("file,source\n1.png,x\nTraining/Non-cancer/1.png,y\n", "line 3: an image has two sources"),
        ("\nfile,source\n\n1.png,x\n , \nTraining/Non-cancer/1.png,y\n", "line 6: an image has two sources"),
        ('file,source,of\n1.png,x,"two\nlines"\n1.png,y,\n', "line 4: an image has two sources"),
        ("file\tsource\n1.png\tx\n\n2.jpeg\n", r"line 4: a row is too short \(found: 1 cells\)"),
    ],
)
def test_a_bad_table_of_sources_is_refused(gather: Run, tmp_path: Path, text: str | bytes, match: str) -> None:
    (tmp_path / "s.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(gather, f"collect.sources.*{match}", tmp_path, sources=tmp_path / "s.tsv")


def test_a_source_that_fits_two_images_is_refused(gather: Run, classes: Path, tmp_path: Path) -> None:
    shutil.copy(classes / "Training" / "Non-cancer" / "1.png", classes / "Testing" / "Non-cancer" / "1.png")
    (tmp_path / "s.tsv").write_text("file\tsource\n1.png\tx\n")
    refused(gather, "line 2: a row leaves open", tmp_path, sources=tmp_path / "s.tsv")


def test_classes_that_are_missing_or_empty_are_refused(gather: Run, classes: Path, tmp_path: Path) -> None:
    refused(gather, "there is no folder of this class .*Covid", tmp_path, classes=["Cancer", "Covid"])
    (classes / "Normal").mkdir()
    (classes / "Normal" / "notes.txt").write_text("x")
    refused(gather, "a class folder holds no image .*Normal", tmp_path, classes=["Cancer", "Normal"])


def test_a_set_is_divided_by_its_folders_whole_or_not_at_all(gather: Run, classes: Path, tmp_path: Path) -> None:
    for part, folder in (("train", "Training"), ("VAL", "Validation"), ("test", "Testing")):
        (classes / folder).rename(classes / part)
    assert gather().sources["part"].value_counts().to_dict() == {"training": 4, "validation": 2, "test": 2}
    (classes / "VAL").rename(classes / "more")
    refused(gather, r"in no part of the set .*2 of 8", tmp_path)
    for part in ("train", "test"):
        (classes / part).rename(classes / f"{part} it")
    assert set(gather().sources["part"]) == {""}


def test_unreadable_images_are_listed_by_number_with_no_path(gather: Run, classes: Path, tmp_path: Path) -> None:
    bad = classes / "Training" / "Cancer" / f"{SECRETS[1]}_9.png"
    bad.write_bytes(b"x")
    (classes / "Testing" / "Cancer" / "z.png").write_bytes(b"y")
    refused(gather, r"collect.root: too many .*2 of 10", tmp_path)
    found = gather(max_unreadable=0.2)
    listed = sorted((p for p in classes.rglob("*") if p.is_file()), key=lambda p: str(p).encode())
    numbers = [listed.index(p) + 1 for p in (classes / "Testing" / "Cancer" / "z.png", bad)]
    assert found.unreadable["number"].tolist() == numbers
    assert found.unreadable["reason"].tolist() == ["cannot be decoded"] * 2
    assert found.facts["unreadable"] == 2


OTHER_KINDS: list[dict[str, Any]] = [
    {"Modality": "PT"},
    {"Modality": "MR"},
    {"Modality": "OT"},
    {"Modality": SECRETS[1]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    {"ImageType": ["DERIVED", "SECONDARY", "LOCALIZER", "X"]},
    {"SOPClassUID": uids.SecondaryCaptureImageStorage},
    {"SOPClassUID": uids.PositronEmissionTomographyImageStorage},
    {"SOPClassUID": uids.MRImageStorage},
    {"SOPClassUID": uids.XRayRadiationDoseSRStorage},
]


def test_dicom_files_of_another_kind_are_passed_over_and_counted(gather: Run, classes: Path) -> None:
    before = gather()
    for number, changed in enumerate(OTHER_KINDS):
        path = classes / "Testing" / "Cancer" / f"other{number}.dcm"
        write_slice(path, body(5), **{"SOPInstanceUID": uid_of(50 + number), **changed})
    after = gather()
    assert (before.facts["passed_over"], after.facts["passed_over"]) == (0, len(OTHER_KINDS))
    assert after.facts["images"] == before.facts["images"] and after.facts["unreadable"] == 0
    assert after.sources["label"].value_counts().to_dict() == before.sources["label"].value_counts().to_dict()


def test_the_tables_of_all_qualities_are_those_that_the_jpeg_library_writes() -> None:
    for quality, table in enumerate(_quality_tables(), start=1):
        with io.BytesIO() as file:
            Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
            written = Image.open(file, formats=("JPEG",)).quantization  # type: ignore[attr-defined]
            assert sorted(written[0]) == table.tolist(), quality


@pytest.mark.parametrize("quality", [10, 35, 50, 75, 90, 98])
def test_the_quality_of_a_jpeg_is_told_from_its_tables(tmp_path: Path, quality: int) -> None:
    Image.effect_noise((32, 32), 40).save(tmp_path / "a.jpg", quality=quality)
    assert picture_facts(tmp_path / "a.jpg", read_image(tmp_path / "a.jpg"))["jpeg_quality"] == quality


@pytest.mark.parametrize(
    ("mode", "name", "bits", "channels"),
    [
        ("L", "a.png", 8, 1),
        ("RGBA", "a.png", 8, 4),
        ("I;16", "a.png", 16, 1),
        ("1", "a.png", 1, 1),
        ("P", "a.tif", 8, 1),
        ("1", "a.tif", 1, 1),
    ],
)
def test_facts_tell_how_a_picture_is_stored(tmp_path: Path, mode: str, name: str, bits: int, channels: int) -> None:
    Image.new(mode, (6, 4)).save(tmp_path / name)
    facts = picture_facts(tmp_path / name, read_image(tmp_path / name))
    assert (facts["bits"], facts["channels"], facts["width"], facts["height"]) == (bits, channels, 6, 4)
    assert np.isnan(facts["jpeg_quality"]) and facts["coloured"] == 0


def test_the_coloured_share_counts_pixels_whose_channels_differ_clearly(tmp_path: Path) -> None:
    pixels = np.full((4, 8, 3), 100, np.uint8)
    pixels[:, :2] = (255, 0, 0)
    pixels[:, 2] = (100, 108, 100)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert picture_facts(tmp_path / "a.png", pixels)["coloured"] == 0.25


def test_a_changed_file_of_any_name_changes_the_state_of_a_folder(series: Path) -> None:
    state = content_state(series, None, suffixes=None)
    assert state == content_state(series, None, suffixes=None)
    (series / "Lung_Dx-B0001" / "IM0001").write_bytes(b"x")
    assert state != content_state(series, None, suffixes=None)
    assert content_state(series, None) == content_state(series.parent / "patients" / "Annotation", None)
    assert content_state(series / TOO_LONG, None) == "absent"


def written(folder: Path) -> bytes:
    return b"".join(p.name.encode() + p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def test_nothing_that_is_written_or_said_names_a_patient(
    collect: Run, gather: Run, tmp_path: Path, series: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    table, matching = collect()
    write_list(out / "slices.tsv", table)
    write_json(out / "matching.json", matching)
    everything = written(out)
    found = gather(annotations=tmp_path / "notes")
    for name in ("sources", "boxes", "unreadable"):
        write_list(out / f"{name}.tsv", getattr(found, name))
    write_json(out / "collected.json", found.facts)
    everything += written(out) + "".join(capfd.readouterr()).encode()
    assert len(read_list(out / "sources.tsv")) == 8 and json.loads((out / "collected.json").read_text())
    secrets = [*SECRETS, "B0001", "A0001", uid_of(1), uid_of(2), "Roe", str(tmp_path), "Doe"]
    assert not [secret for secret in secrets if secret.encode() in everything]


@pytest.mark.skipif(not REAL.is_dir(), reason="no real CT slices here")
def test_real_slices_of_two_patients_are_matched_and_nothing_names_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = REAL / "lung_pet_ct_dx"
    settings: dict[str, Any] = {"subtypes": ["A"], "at_most": 1000, "rule": "largest", "seed": 1, "max_unreadable": 0.0}
    table, matching = collect_slices(root, None, tmp_path / "out", window=LUNG, where="slices", **settings)
    assert matching["slices"] == 21 and matching["patients"] == 2 and matching["dicom_without_annotation"] == 32
    pairs = pd.read_csv(root / "pairs.csv")
    listed = sorted((p for p in root.rglob("*") if p.is_file()), key=lambda p: str(p).encode())
    originals = [listed[int(file[:-4]) - 1] for file in table["file"]]
    assert {p.relative_to(root).as_posix() for p in originals} == set(pairs["dicom"])
    assert ((table["xmax"] <= table["width"]) & (table["ymax"] <= table["height"])).all()
    assert (table[["xmin", "ymin"]] >= 0).all(axis=None) and (table["xmin"] < table["xmax"]).all()
    for path in originals[::7]:
        hu = read_slice(path, "it").hu
        assert np.percentile(hu, 1) < -900 and np.percentile(hu, 99.9) > 200
        assert ((hu > 0) & (hu < 100)).mean() > 0.05, "no soft tissue"
    write_list(tmp_path / "out" / "slices.tsv", table)
    write_json(tmp_path / "out" / "matching.json", matching)
    everything = written(tmp_path / "out") + "".join(capfd.readouterr()).encode()
    assert not [s for s in ("Lung_Dx", "A0001", "A0002", "CT_5mm", "1.3.6.1.4", "1-1") if s.encode() in everything]


@pytest.mark.skipif(not REAL.is_dir(), reason="no real CT slices here")
def test_real_cancer_and_pneumonia_are_collected_with_their_parts(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"window": LUNG, "annotations": None, "sources": None, "max_unreadable": 0.0}
    root = REAL / "cancer_vs_pneumonia_sample"
    found = collected(root, ["Non-cancer", "Cancer"], tmp_path / "out", where="collect", **settings)
    parts = found.sources.groupby(["part", "label"]).size()
    assert parts["training", "Cancer"] == parts["test", "Non-cancer"] == 5
    assert found.facts["without_source"] == found.facts["images"] == len(list(root.rglob("*.*g")))
