"""Reading sets of small images: every format, and files that are damaged or hostile."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from drunet.errors import DrunetError
from studies.multi_lens import image_sets
from studies.multi_lens.image_sets import (
    at_most,
    embedded_digits,
    read_image_sets,
    read_written_image_sets,
    write_image_sets,
)

CLASSIC = Path(__file__).parents[3] / ".." / "shared" / "data" / "classic"
GREY = np.random.default_rng(0).integers(0, 256, (12, 9, 7), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def to(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return to


def test_keras_npz_gives_each_part_its_own(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    # Keras' CIFAR has labels (n, 1), its MNIST (n,).
    np.savez(
        tmp_path / "set.npz", x_train=colours, y_train=[[7], [1], [7], [1], [1]], x_test=colours[:2], y_test=[1, 7]
    )
    training, test = read_image_sets([tmp_path / "set.npz"], [tmp_path / "set.npz"])
    np.testing.assert_array_equal(training.images, colours)
    assert training.classes == ("1", "7")
    assert training.labels.tolist() == [1, 0, 1, 0, 0]
    assert test.labels.tolist() == [0, 1]


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (6, 5), form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, form)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


RED, BLUE = picture((255, 0, 0)), picture((0, 0, 255))


@pytest.mark.parametrize("form", ["zip", "folder", "zip in a folder"])
def test_class_folders_are_read_by_parts_and_what_systems_leave_in_them_is_not(
    write, tmp_path: Path, form: str
) -> None:
    top = "set/" if form == "zip in a folder" else ""
    members = {"train/red/1.png": RED, "train/blue/2.png": BLUE, "test/red/3.png": RED, "test/blue/4.png": BLUE}
    noise = {"__MACOSX/train/red/._1.png": b"", "train/.DS_Store": b"", "train/readme.txt": b"words"}
    path = write("set.zip", zipped({f"{top}{name}": content for name, content in {**members, **noise}.items()}))
    if form == "folder":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "unpacked")
        path = tmp_path / "unpacked"
    training, test = read_image_sets([path], [path])
    assert training.classes == ("blue", "red")
    assert training.images.shape == (2, 5, 6, 3)
    assert [training.classes[i] for i in training.labels] == ["blue", "red"]
    np.testing.assert_array_equal(training.images[:, 0, 0], [(0, 0, 255), (255, 0, 0)])
    assert test.labels.tolist() == [0, 1]


def test_a_zip_for_each_part_needs_no_parts_in_it_and_one_for_both_does(write) -> None:
    members = {"red/1.png": RED, "blue/2.png": BLUE}
    one, other = write("set.zip", zipped(members)), write("again.zip", zipped(members))
    assert [len(part) for part in read_image_sets([one], [other])] == [2, 2]
    assert "one set serves for training and testing (found: no train/" in message([one], [one])


def test_a_name_in_a_zip_never_leads_out_of_it(write, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    members = {"train/red/../../../../1.png": RED, "/train/blue/2.png": BLUE, "test/blue/4.png": BLUE}
    path = write("set.zip", zipped(members))
    read_image_sets([path], [path])
    assert {file.name for file in tmp_path.rglob("*")} == {"temporary", "set.zip"}


def test_a_name_that_stands_twice_in_a_zip_is_refused(write) -> None:
    stream = io.BytesIO(zipped({f"{part}/{name}/1.png": RED for part in ("train", "test") for name in ("red", "blue")}))
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("train/blue/1.png", BLUE)
    assert "files of the same name" in message([write("set.zip", stream.getvalue())])


def test_an_array_that_is_none_ends_in_one_message(write) -> None:
    stream = io.BytesIO()
    np.savez(stream, x_train=np.zeros((2, 4, 4), np.uint8), x_test=np.zeros((2, 4, 4), np.uint8), y_test=np.arange(2))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("y_train.npy", b"words")
    assert "set.npz" in message([write("set.npz", stream.getvalue())])


def test_a_pickle_is_refused_with_the_way_to_convert_it(write, tmp_path: Path, monkeypatch) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (Path("harm"),))

    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "odd.npz", x_train=np.array([Harmful()] * 3), y_train=[0, 1, 0])
    for path in (write("data_batch_1", pickle.dumps({"data": Harmful()}, protocol=2)), tmp_path / "odd.npz"):
        said = message([path], [path])
        assert ("numpy.savez('cifar10.npz', x_train=x" in said) == (path.suffix == "") and "\n" not in said
        assert not (tmp_path / "harm").exists()


def message(training: list[Path], test: list[Path] | None = None) -> str:
    with pytest.raises(DrunetError) as caught:
        read_image_sets(training, test or training)
    return str(caught.value)


def test_files_that_cannot_be_used_end_in_one_message(write, tmp_path: Path) -> None:
    assert "not a known format" in message([write("text", b"words, words")])

    def said(**changes: np.ndarray) -> str:
        parts = {"x_train": GREY, "y_train": LABELS, "x_test": GREY, "y_test": LABELS}
        np.savez(tmp_path / "set.npz", **{**parts, **changes})
        return message([tmp_path / "set.npz"])

    assert "12 images and 11 labels" in said(y_train=LABELS[:-1])
    assert "one class only" in said(y_train=LABELS * 0)
    assert "labels must be whole numbers" in said(y_train=LABELS / 2)
    assert "differ in size (found: 7 x 9 px, 1 channels and 7 x 8" in said(x_test=GREY[:, 1:])
    assert "a class without training images (found: 3)" in said(y_test=LABELS + 1)


def test_archives_that_cannot_be_used_end_in_one_message(write, tmp_path: Path) -> None:
    both = {"x_train": GREY, "y_train": LABELS, "x_test": GREY}
    np.savez(tmp_path / "part.npz", **both)
    assert "lacks y_test" in message([tmp_path / "part.npz"])
    np.savez(tmp_path / "object.npz", **both, y_test=np.array([None] * 12))
    assert "cannot be read" in message([tmp_path / "object.npz"])
    np.savez(tmp_path / "float.npz", **{**both, "x_train": GREY / 2}, y_test=LABELS)
    assert "not a set of images" in message([tmp_path / "float.npz"])
    assert "several sizes" in message(
        [write("sizes.zip", zipped({"a/1.png": RED, "b/2.png": picture((1, 2, 3), (9, 9))}))], [tmp_path / "part.npz"]
    )
    for words, members in {
        "without a class": {"1.png": RED},
        "cannot be decoded": {"a/1.png": RED[:-30]},
        "no images in it": {"readme.txt": b"words"},
    }.items():
        assert words in message([write("one.zip", zipped(members))], [write("other.zip", zipped(members))])
    # A GIF under another name is not decoded.
    gif = {"a/1.png": picture((1, 2, 3), form="GIF")}
    assert "cannot be decoded" in message([write("gif.zip", zipped(gif))], [write("b.zip", zipped(gif))])
    assert "cannot be read" in message([write("broken.zip", zipped({"a/1.png": RED})[:-12])])


def test_claims_beyond_the_limit_are_refused_before_they_cost_memory(write, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_sets, "LIMIT", 2000)
    np.savez(tmp_path / "set.npz", x_train=np.zeros((99, 9, 9), np.uint8), y_train=LABELS)
    assert "more than an image set may hold" in message([tmp_path / "set.npz"])
    bomb = {"train/a/1.png": picture((0, 0, 0), (25, 30))}
    assert "more than an image set may hold" in message([write("bomb.zip", zipped(bomb))])
    bomb = {"train/a/1.png": bytes(2001)}
    assert "more than an image set may hold" in message([write("large.zip", zipped(bomb))])


@pytest.mark.parametrize("name", ["labels.csv", "train/labels.csv", "train/a/LABELS.CSV", "notes.txt", "a.npz", "x"])
def test_what_lies_beside_the_images_of_a_zip_is_not_unpacked(write, monkeypatch, name: str) -> None:
    monkeypatch.setattr(image_sets, "LIMIT", 2000)
    members = {f"{part}/{c}/1.png": RED for part in ("train", "test") for c in "ab"}
    stream = io.BytesIO(zipped(members))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"train/a/1.png,a\n" * 10_000)
    path = write("set.zip", stream.getvalue())
    unpacked: list[zipfile.ZipInfo] = []
    extract = zipfile.ZipFile.extractall

    def watched(self: zipfile.ZipFile, folder: str, chosen: list[zipfile.ZipInfo]) -> None:
        unpacked.extend(chosen)
        extract(self, folder, chosen)

    monkeypatch.setattr(zipfile.ZipFile, "extractall", watched)
    training, _ = read_image_sets([path], [path])
    assert len(training) == 2 and {info.filename for info in unpacked} == set(members)


def test_an_npz_whose_header_claims_more_than_it_holds_is_refused(write) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    header = stream.getvalue()
    assert "cannot be read" in message([write("set.npz", zipped({"x_train.npy": header, "y_train.npy": header}))])


def test_the_embedded_digits_are_scikit_learns_in_grey_levels() -> None:
    training, test = embedded_digits()
    assert (len(training), len(test)) == (1198, 599)
    digits = load_digits()
    np.testing.assert_allclose(training.images[2, ..., 0], digits.images[3] * 255 / 16, atol=0.5)
    np.testing.assert_allclose(test.images[0, ..., 0], digits.images[2] * 255 / 16, atol=0.5)
    assert set(test.labels.tolist()) == set(range(10))


def test_sets_come_back_as_they_were_written(tmp_path: Path) -> None:
    training, test = embedded_digits()
    few = at_most(test, 50, 3)
    write_image_sets(tmp_path / "images.npz", training, few)
    again, others = read_written_image_sets(tmp_path / "images.npz")
    np.testing.assert_array_equal(again.images, training.images)
    np.testing.assert_array_equal(others.labels, few.labels)
    assert (len(others), again.classes) == (50, training.classes)
    assert at_most(test, 9999, 3) is test


@pytest.mark.slow
def test_the_real_sets_are_read_as_other_libraries_read_them() -> None:
    if not CLASSIC.is_dir():
        pytest.skip("the real image sets are not here")
    training, test = read_image_sets([CLASSIC / "cifar100.zip"], [CLASSIC / "cifar100.zip"])
    assert (training.images.shape, test.images.shape) == ((2500, 32, 32, 3), (1000, 32, 32, 3))
    assert np.bincount(test.labels).tolist() == [10] * 100
