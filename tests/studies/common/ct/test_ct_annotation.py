from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from ct_writer import SECRETS, uid_of, voc, write_voc
from hypothesis import given
from hypothesis import strategies as st

from studies.common.ct.annotation import find_annotations, fit_boxes, read_voc
from studies.common.ct.files import find_user_files
from studies.common.errors import CtError

HERE = "slices.annotations, file 3 of 21"


def read(tmp_path: Path, text: str | bytes, width: int = 48, height: int = 40) -> Any:
    path = tmp_path / f"{SECRETS[0]}.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_voc(path, width, height, HERE)


def refused(tmp_path: Path, text: str | bytes, match: str) -> None:
    with pytest.raises(CtError, match=match) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(HERE) and "\n" not in message
    assert not any(secret in message for secret in (*SECRETS, str(tmp_path)))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_boxes_are_read_with_names_and_size_and_nothing_of_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, voc((3, 4, 20, 30), (1.5, 2, 9, "8"), name=" B "))
    assert found.names == ("B", "B") and found.corners.dtype == np.float64
    assert found.corners.tolist() == [[3, 4, 20, 30], [1.5, 2, 9, 8]]
    assert not any(secret in repr(found) for secret in SECRETS)


def test_corners_in_the_wrong_order_are_swapped(tmp_path: Path) -> None:
    assert read(tmp_path, voc((20, 30, 3, 4), (3, 30, 20, 4))).corners.tolist() == [[3, 4, 20, 30]] * 2


def test_boxes_without_area_and_outside_ones_are_counted_and_others_clipped(tmp_path: Path) -> None:
    found = read(tmp_path, voc((5, 5, 5, 9), (60, 5, 70, 9), (48, 5, 50, 9), (-9, -9, 0, 9), (40, -3, 60, 9)))
    assert (found.empty, found.outside, found.corners.tolist()) == (1, 3, [[40, 0, 48, 9]])


corner = st.integers(-20, 70)


@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=6))
def test_boxes_are_clipped_as_shapely_cuts_them(boxes: list[tuple[int, int, int, int]]) -> None:
    names = [str(i) for i in range(len(boxes))]
    found = fit_boxes(np.array(boxes, float).reshape(-1, 4), names, 48, 40)
    cut = [shapely.box(*box).intersection(shapely.box(0, 0, 48, 40)) for box in boxes]
    assert [shapely.box(*box).area for box in found.corners] == [each.area for each in cut if each.area]
    assert found.names == tuple(name for name, each in zip(names, cut, strict=True) if each.area)
    assert found.empty == sum(shapely.box(*box).area == 0 for box in boxes)
    assert len(found) + found.empty + found.outside == len(boxes)


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_without_a_declared_size_boxes_are_fitted_to_the_slice(tmp_path: Path, size: Any) -> None:
    boxes = read(tmp_path, voc((3, 4, 600, 30), (700, 700, 800, 800), (1, 1, 1, 1), size=size), 512, 512)
    assert boxes.corners.tolist() == [[3, 4, 512, 30]] and (boxes.outside, boxes.empty) == (1, 1)


def test_an_annotation_of_another_size_than_its_slice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CtError, match=r"another size .*48 x 40, the slice 40 x 48 px"):
        read(tmp_path, voc((3, 4, 20, 30)), 40, 48)


BILLION = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (f'<!DOCTYPE a [<!ENTITY l0 "lol">{BILLION}]><annotation>&l9;</annotation>', "document type or entities"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "document type"),
        ('<!DOCTYPE annotation SYSTEM "http://x.test/a.dtd"><annotation/>', "document type"),
        ("<annotation>", "not well-formed"),
        ("", "not well-formed"),
        (b"\xff\xfe\x00", "not well-formed"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "not well-formed"),
        ("<ASAP_Annotations/>", "no Pascal VOC"),
        (voc((1, 2, "Doe^Jane", 4)), "bndbox/xmax is not a number"),
        (voc((1, 2, "nan", 4)), "bndbox/xmax is not a number"),
        (voc((1, 2, "1e999", 4)), "bndbox/xmax is not a number"),
        (voc((1, 2, "", 4)), "bndbox/xmax is not a number"),
        (voc((1, 2, 3, 4)).replace("ymax>", "top>"), "bndbox/ymax is missing"),
        ("<annotation><object><name>A</name></object></annotation>", "bndbox/xmin is missing"),
        (voc((1, 2, 3, 4), size=("x", 40)), "size/width is not a number"),
        (voc((1, 2, 3, 4), size=(48, -40)), "height of the annotated image is no size"),
        (voc((1, 2, 3, 4), size=(48, 1e300)), "height of the annotated image is no size"),
    ],
)
def test_what_is_no_annotation_is_refused_in_one_line(tmp_path: Path, text: str | bytes, match: str) -> None:
    refused(tmp_path, text, match)


def test_a_huge_or_absent_annotation_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    refused(tmp_path, "<annotation>" + " " * 2**20 + "</annotation>", r"larger than .*1024 KiB")
    with pytest.raises(CtError, match="cannot be opened"):
        read_voc(tmp_path / "none.xml", 48, 40, HERE)


def test_an_annotation_may_have_no_object(tmp_path: Path) -> None:
    assert read(tmp_path, "<annotation/>").corners.shape == (0, 4)


def test_annotations_are_found_at_any_depth_by_uid_and_other_names_counted(tmp_path: Path) -> None:
    for folder in ("X0001", "X0002/a/b", ".hidden"):
        write_voc(tmp_path / folder, uid_of(1), (1, 2, 3, 4))
    write_voc(tmp_path / "X0002", uid_of(2), (5, 6, 7, 8))
    for name in ("slice 7", "1.2.3.4" * 20, "1.2.x"):
        write_voc(tmp_path / "X0002", name, (5, 6, 7, 8))
    (tmp_path / "notes.txt").write_text("x")
    found = find_annotations(find_user_files(tmp_path, "slices.annotations"))
    assert set(found.numbers) == {uid_of(1), uid_of(2)}
    assert (found.wrong_names, found.duplicates) == (3, 1)
    assert found.matching({uid_of(2): (48, 40)}, 0)[0][uid_of(2)].corners.tolist() == [[5, 6, 7, 8]]
    assert SECRETS[0] not in repr(found) and "X0001" not in repr(found)
