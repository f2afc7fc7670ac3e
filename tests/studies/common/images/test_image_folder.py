from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from studies.common.errors import ImageSetError
from studies.common.images import folder
from studies.common.images.content import content_state
from studies.common.images.folder import find_files, list_images, read_image, read_list, write_list
from studies.common.images.groups import group_facts, read_groups

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an image of its own noise below a folder."""

    def write(name: str, seed: int = 0, size: tuple[int, int] = (7, 5)) -> Path:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        return path

    return write


@pytest.fixture
def lungs(make: Make, tmp_path: Path) -> Path:
    """Two classes of three images each, one level below the root."""
    for k in range(3):
        make(f"lung/aca/a{k}.png", k)
        make(f"lung/scc/s{k}.png", 10 + k)
    return tmp_path / "set"


CLASSES = ["aca", "scc"]


def listed(root: Path, classes: list[str] = CLASSES, limit: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    return list_images(root, classes, max_unreadable=limit, where="the set", threads=2)


def refused(match: str, root: Path, classes: list[str] = CLASSES, limit: float = 0.0) -> None:
    with pytest.raises(ImageSetError, match=match):
        listed(root, classes, limit)


def test_images_are_listed_by_file_with_class_and_size(lungs: Path, make: Make) -> None:
    make("lung/other/notes.txt.png", 30)
    (lungs / "groups.csv").write_text("no image")
    (lungs / "lung" / "aca" / ".hidden.png").write_bytes(b"no image")
    make(".cache/aca/x.png", 31)
    images, unreadable = listed(lungs, ["scc", "aca"])
    assert images["file"].tolist() == [f"lung/aca/a{k}.png" for k in range(3)] + [
        f"lung/scc/s{k}.png" for k in range(3)
    ]
    assert images["label"].tolist() == ["aca"] * 3 + ["scc"] * 3
    assert set(images["width"]) == {5} and set(images["height"]) == {7}
    assert unreadable.empty


def test_an_image_belongs_to_the_nearest_folder_above_it_that_is_a_class(lungs: Path, make: Make) -> None:
    make("lung/aca/extra/e.png", 30)
    make("lung/aca/extra/2024/scc/f.png", 31)
    refused(r"one class name stands in two places .*lung/aca/extra/2024/scc and lung/scc", lungs, ["aca", "scc"])
    labels = listed(lungs, ["aca", "extra"])[0].set_index("file")["label"]
    assert labels["lung/aca/extra/e.png"] == labels["lung/aca/extra/2024/scc/f.png"] == "extra"
    assert labels.value_counts().to_dict() == {"aca": 3, "extra": 2}


@pytest.mark.parametrize("above", ["", "train/", "set/train/"])
def test_classes_may_hold_a_folder_for_each_patient(make: Make, tmp_path: Path, above: str) -> None:
    for k, file in enumerate(("aca/p1/1.png", "aca/p2/1.png", "scc/p1/1.png", "scc/p3/slide/1.png")):
        make(above + file, k)
    images = listed(tmp_path / "set", ["scc", "aca"])[0]
    assert images["label"].tolist() == ["aca", "aca", "scc", "scc"]
    assert images["file"].tolist()[3] == f"{above}scc/p3/slide/1.png"
    refused(r"no folder of this class \(found: sccc\)\. Did you mean scc\?", tmp_path / "set", ["aca", "sccc"])
    make("normal/p1/2.png", 8)
    unused = find_files(tmp_path / "set", "the set")
    rows = [("aca", "p1/1.png"), ("aca", "p2/1.png"), ("scc", "p1/1.png"), ("scc", "slide/1.png"), ("normal", "2.png")]
    text = "class,file,group\n" + "".join(f"{label},{file},{file[:2]}\n" for label, file in rows)
    groups = read_groups(groups_file(tmp_path, text), images, "groups", others=unused)
    assert groups.tolist() == ["p1", "p2", "p1", "sl"]


def test_a_whole_path_in_the_groups_file_is_that_file_though_others_end_so(make: Make, tmp_path: Path) -> None:
    for k, file in enumerate(("aca/1.png", "scc/1.png", "train/aca/1.png")):
        make(file, k)
    images = listed(tmp_path / "set", ["aca", "scc"])[0]
    groups = read_groups(
        groups_file(tmp_path, "file,group\naca/1.png,whole\nscc/1.png,b\ntrain/aca/1.png,below\n"), images, "groups"
    )
    told = dict(zip(images["file"], groups, strict=True))
    assert told == {"aca/1.png": "whole", "scc/1.png": "b", "train/aca/1.png": "below"}


def test_the_digest_is_that_of_the_pixels_and_their_shape(lungs: Path, make: Make) -> None:
    same = make("lung/aca/z.bmp", 1)
    wide = make("lung/aca/wide.png", 1, (5, 7))
    assert wide.stat().st_size and same.stat().st_size
    digests = listed(lungs)[0].set_index("file")["digest"]
    assert digests["lung/aca/z.bmp"] == digests["lung/aca/a1.png"]
    assert digests.nunique() == 7


def test_a_list_is_read_as_it_was_written(lungs: Path, tmp_path: Path) -> None:
    images = listed(lungs)[0].assign(label=["NA", "1", "a\tb", "", "01", '"'], group="007")
    write_list(tmp_path / "images.tsv", images)
    pd.testing.assert_frame_equal(read_list(tmp_path / "images.tsv"), images)


def test_parts_of_a_set_are_merged_and_homonyms_refused(make: Make, tmp_path: Path) -> None:
    for k, part in enumerate(("Training", "Testing")):
        make(f"{part}/cancer/a.png", k)
        make(f"{part}/normal/b.png", 5 + k)
    assert listed(tmp_path / "set", ["cancer", "normal"])[0]["label"].tolist() == ["cancer", "normal"] * 2
    make("colon/normal/a.png", 9)
    refused(r"one class name stands in two places .*normal and colon/normal", tmp_path / "set", ["cancer", "normal"])


def test_an_empty_class_folder_is_named(lungs: Path) -> None:
    (lungs / "lung" / "empty").mkdir()
    (lungs / "lung" / "empty" / "readme.txt").write_text("soon")
    refused(r"a class folder holds no image \(found: lung/empty\)", lungs, [*CLASSES, "empty"])
    assert len(listed(lungs, ["aca", "scc"])[0]) == 6


def test_a_missing_class_is_named_with_the_closest(lungs: Path) -> None:
    refused(r"no folder of this class \(found: acca\)\. Did you mean aca\?", lungs, ["acca", "scc"])


def test_a_missing_root_is_refused(lungs: Path, make: Make) -> None:
    refused("there is no such folder", lungs / "nowhere")
    refused("found: a file", lungs / "lung" / "aca" / "a0.png")
    make("stray.png", 40)
    assert len(listed(lungs, ["aca", "scc"])[0]) == 6


def test_unreadable_images_are_counted_named_and_left_out_below_the_limit(lungs: Path) -> None:
    whole = (lungs / "lung" / "aca" / "a0.png").read_bytes()
    (lungs / "lung" / "aca" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (lungs / "lung" / "scc" / "words.jpeg").write_text("not an image")
    refused(r"2 of 8, at most 20.00% allowed: lung/aca/cut\.png", lungs, limit=0.2)
    images, unreadable = listed(lungs, limit=0.25)
    assert len(images) == 6
    assert unreadable["file"].tolist() == ["lung/aca/cut.png", "lung/scc/words.jpeg"]
    assert unreadable["reason"].str.startswith("cannot be decoded").all()


def test_a_class_without_a_readable_image_is_an_error_whatever_the_limit(lungs: Path) -> None:
    for path in (lungs / "lung" / "scc").iterdir():
        path.write_bytes(b"")
    refused(r"no image of a class can be read \(found: scc\)", lungs, limit=1.0)


def test_size_is_seen_before_pixels(lungs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_PIXELS", 34)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageSetError, match="larger than a patch may be"):
        read_image(lungs / "lung" / "aca" / "a0.png")


def test_one_picture_in_two_classes_is_an_error_naming_both(lungs: Path, make: Make) -> None:
    make("lung/scc/again.bmp", 0)
    make("lung/scc/other.bmp", 2)
    refused(r"two classes \(found: 2 pictures, the first: lung/aca/a0\.png and lung/scc/again\.bmp\)", lungs)


def test_links_may_not_lead_out(lungs: Path, tmp_path: Path) -> None:
    (lungs / "lung" / "aca" / "inside.png").symlink_to(lungs / "lung" / "aca" / "a0.png")
    (lungs / "lung" / "again").symlink_to(lungs / "lung" / "scc")
    assert len(listed(lungs)[0]) == 7
    outside = tmp_path / "outside"
    outside.mkdir()
    (lungs / "lung" / "more").symlink_to(outside)
    refused(r"a link leads out of the folder of images \(found: lung/more\)", lungs)


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("L", 7, (7, 7, 7)),
        ("I;16", 0x12FF, (0x12, 0x12, 0x12)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("LA", (40, 0), (255, 255, 255)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, pixel: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (3, 2), pixel).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (2, 3, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.broadcast_to(expected, (2, 3, 3)))


def test_palettes_become_rgb_orientation_is_left_alone_and_floats_are_refused(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(colours)
    picture.quantize(24).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.asarray(picture.quantize(24).convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "straight.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg"), read_image(tmp_path / "straight.jpg"))
    Image.new("F", (3, 2)).save(tmp_path / "f.tif")
    with pytest.raises(ImageSetError, match="32 bits"):
        read_image(tmp_path / "f.tif")


def groups_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    return path


GROUPED = (
    "class,file,group\naca,a0.png,1\naca,lung/aca/a1.png,1\naca,a2.png,2\nscc,s0.png,3\nscc,s1.png,4\nscc,s2.png,4\n"
)


def test_groups_are_read_by_path_or_by_a_name_that_leaves_no_doubt(lungs: Path, tmp_path: Path) -> None:
    images = listed(lungs)[0]
    groups = read_groups(groups_file(tmp_path, GROUPED), images, "groups")
    assert groups.tolist() == ["1", "1", "2", "3", "4", "4"]
    tabs = groups_file(tmp_path, "\ufeff" + GROUPED.replace(",", "\t"))
    assert read_groups(tabs, images, "groups").tolist() == groups.tolist()
    quoted = groups_file(tmp_path, GROUPED.replace(",", "\t").replace("\t1\n", '\t"1\n'))
    assert read_groups(quoted, images, "groups").tolist() == ['"1', '"1', "2", "3", "4", "4"]
    # As R writes a table.
    words = "\n".join("\t".join(f'"{cell}"' for cell in line.split(",")) for line in GROUPED.splitlines())
    assert read_groups(groups_file(tmp_path, words), images, "groups").tolist() == groups.tolist()
    assert group_facts(images.assign(group=groups)) == {
        "images": 6,
        "groups": 4,
        "largest": 2,
        "singletons": 2,
        "spanning": 0,
    }


def test_a_group_may_span_classes_and_is_counted(lungs: Path, tmp_path: Path) -> None:
    images = listed(lungs)[0]
    groups = read_groups(groups_file(tmp_path, GROUPED.replace(",3\n", ",2\n")), images, "groups")
    assert groups.tolist() == ["1", "1", "2", "2", "4", "4"]
    facts = group_facts(images.assign(group=groups))
    assert (facts["groups"], facts["spanning"], facts["largest"]) == (3, 1, 2)


def test_a_class_tells_files_of_one_name_apart(make: Make, tmp_path: Path) -> None:
    for k, name in enumerate(("aca/1.png", "aca/2.png", "scc/1.png", "scc/2.png")):
        make(name, k)
    images = listed(tmp_path / "set")[0]
    rows = [("aca", "1.png", "x"), ("aca", "2.png", "y"), ("scc", "1.png", "z"), ("scc", "2.png", "z")]
    text = "label,file,group\n" + "".join(",".join(row) + "\n" for row in rows)
    assert read_groups(groups_file(tmp_path, text), images, "groups").tolist() == ["x", "y", "z", "z"]
    without = "file,group\n" + "".join(f"{file},{group}\n" for _, file, group in rows)
    with pytest.raises(ImageSetError, match=r"which image it means \(found: 4: 1\.png, 2\.png, 1\.png, …\)"):
        read_groups(groups_file(tmp_path, without), images, "groups")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,source\na0.png,1\n", "lacks group"),
        ("", "lacks file and group"),
        (GROUPED + "aca,a7.png,1\nscc,a0.png,3\n", r"not there \(found: 2: a7\.png, a0\.png\)"),
        (GROUPED.replace("aca,a2.png,2\n", ""), r"images have no group \(found: 1: lung/aca/a2\.png\)"),
        (GROUPED.replace("a2.png,2", "a2.png, "), r"images have no group \(found: 1: lung/aca/a2\.png\)"),
        (GROUPED + "aca,a0.png,2\n", r"into two groups \(found: 1: a0\.png\)"),
        ("file,group\n", r"images have no group \(found: 6: "),
        (GROUPED.replace("a2.png,2", 'a2.png,"2'), r"cannot be read \(found: Error\)"),
    ],
)
def test_a_wrong_groups_file_is_refused(lungs: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ImageSetError, match=message):
        read_groups(groups_file(tmp_path, text), listed(lungs)[0], "groups")


def test_a_groups_file_is_no_larger_than_a_table_of_images(
    lungs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = groups_file(tmp_path, GROUPED + "#" * 2**20)
    monkeypatch.setattr("studies.common.images.groups.LARGEST_TABLE", 2**20)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ImageSetError, match=r"larger than a table of images can be \(found: 1 MiB\).* At most 1 MiB"):
        read_groups(path, pd.DataFrame(), "groups")


def test_identical_images_belong_to_one_group(lungs: Path, make: Make, tmp_path: Path) -> None:
    make("lung/aca/a0_again.png", 0)
    text = GROUPED + "aca,a0_again.png,{}\n"
    images = listed(lungs)[0]
    assert read_groups(groups_file(tmp_path, text.format(1)), images, "groups").iloc[1] == "1"
    with pytest.raises(ImageSetError, match=r"identical images are in different groups \(found: 2: lung/aca/a0\.png"):
        read_groups(groups_file(tmp_path, text.format(9)), images, "groups")


def test_a_groups_file_may_name_images_that_are_not_used(lungs: Path, tmp_path: Path, make: Make) -> None:
    make("lung/normal/n.png", 50)
    images = listed(lungs, ["aca", "scc"])[0]
    others = find_files(lungs, "the set")
    assert others == sorted([*images["file"], "lung/normal/n.png"])
    path = groups_file(tmp_path, GROUPED + "normal,n.png,7\n")
    assert read_groups(path, images, "groups", others=others).nunique() == 4
    with pytest.raises(ImageSetError, match="not there"):
        read_groups(path, images, "groups")


def touched(path: Path, nanoseconds: int) -> None:
    os.utime(path, ns=(nanoseconds, nanoseconds))


def test_the_content_of_classes_is_told_by_name_size_and_time(lungs: Path, make: Make) -> None:
    make("lung/other/o.png", 20)
    make("lung/aca/p1/deep.JPG", 21)
    state = content_state(lungs, ["aca", "scc"])
    assert state == content_state(str(lungs), ("scc", "aca")) != content_state(lungs, None)
    touched(lungs / "lung/other/o.png", 7)
    (lungs / "lung/aca/notes.txt").write_text("no image")
    (lungs / "lung/aca/.hidden.png").write_bytes(b"no image")
    assert content_state(lungs, ["aca", "scc"]) == state

    states = [state]
    one = lungs / "lung/aca/p1/deep.JPG"
    whole = one.read_bytes()
    for change in (
        lambda: touched(one, 10**18),
        lambda: touched(one, 10**18 + 1),
        lambda: (one.write_bytes(whole + b"0"), touched(one, 10**18 + 1)),
        lambda: one.rename(one.with_name("other.jpg")),
        lambda: one.with_name("other.jpg").unlink(),
    ):
        change()
        states.append(content_state(lungs, ["aca", "scc"]))
    assert len(set(states)) == len(states)
    again = content_state(lungs, ["aca", "scc"])
    assert again == states[-1] and content_state(lungs, ["scc"]) not in states


def test_the_content_of_a_moved_set_is_the_same_and_a_missing_one_is_absent(lungs: Path, tmp_path: Path) -> None:
    state = content_state(lungs, None)
    (lungs / "lung/again").symlink_to(lungs / "lung/scc")
    moved = lungs.rename(tmp_path / "elsewhere")
    assert content_state(moved, None) == state
    assert content_state(lungs, None) == content_state(moved / "lung/aca/a0.png", ["aca"]) == "absent"
    (moved / "lung/aca/nowhere.png").symlink_to(moved / "gone.png")
    assert content_state(moved, None) != state


def test_every_image_listed_counts_in_the_content(lungs: Path, make: Make) -> None:
    make("lung/aca/p1/deep.png", 21)
    make("lung/aca/p1/scan.tiff", 22)
    for file in listed(lungs, ["aca", "scc"])[0]["file"]:
        before = content_state(lungs, ["aca", "scc"])
        touched(lungs / file, 5)
        assert content_state(lungs, ["aca", "scc"]) != before


def test_asking_for_the_content_imports_nothing_heavy() -> None:
    ask = "import sys, studies.common.images.content; print({'PIL', 'cv2', 'numpy', 'pandas'} & set(sys.modules))"
    workflow = Path(folder.__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{workflow}{os.pathsep}{workflow.parent / 'scripts'}"}
    told = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
