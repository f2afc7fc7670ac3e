from __future__ import annotations

import gzip
import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from drunet.errors import TrainingDataError
from studies.multi_lens import image_zip
from studies.multi_lens.image_sets import (
    at_most,
    embedded_digits,
    read_image_sets,
    read_written_image_sets,
    write_image_sets,
)
from studies.multi_lens.plain_pickle import read_plain_pickle

CLASSIC = Path(__file__).parents[3] / ".." / "shared" / "data" / "classic"
GREY = np.random.default_rng(0).integers(0, 256, (12, 9, 7), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def to(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return to


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("turned", [False, True])
def test_idx_is_read_as_it_is_or_zipped_in_any_order(write, packed, turned: bool) -> None:
    files = [write("images", packed(idx(GREY))), write("labels", packed(idx(LABELS)))]
    training, test = read_image_sets(files[::-1] if turned else files, files)
    np.testing.assert_array_equal(training.images[..., 0], GREY)
    assert training.labels.tolist() == LABELS.tolist()
    assert training.classes == ("0", "1", "2")
    assert len(test) == 12


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


def cifar_rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", [lambda a: a, np.asfortranarray])
@pytest.mark.parametrize("key", [lambda k: k, str.encode])
def test_cifar_batches_of_every_making_are_read(write, protocol: int, form, key) -> None:
    rows = cifar_rows(6)
    batches = []
    for i, (part, labels) in enumerate(((rows[:4], [3, 8, 3, 8]), (rows[4:], [3, 3]))):
        batch = {
            key("batch_label"): b"some",
            key("labels"): labels,
            key("data"): form(part),
            key("filenames"): ["x"] * 4,
        }
        batches.append(write(f"batch{i}", pickle.dumps(batch, protocol=protocol)))
    training, _ = read_image_sets(batches, batches[:1])
    # Red, green, blue, each row by row.
    np.testing.assert_array_equal(training.images[5, 0, 1], rows[5, [1, 1025, 2049]])
    np.testing.assert_array_equal(training.images[5, 1, 0], rows[5, [32, 1056, 2080]])
    assert training.labels.tolist() == [0, 1, 0, 1, 0, 0]
    assert training.classes == ("3", "8")


def python2_batch(rows: np.ndarray, labels: list[int], key: bytes = b"fine_labels") -> bytes:
    """A batch as cPickle of Python 2 wrote it: byte strings throughout."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"K" + bytes([value])

    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02" + number(0) + b"\x85" + text(b"b")
    array += b"tRq\x03(" + number(1) + number(len(rows)) + b"M" + struct.pack("<H", 3072) + b"\x86"
    array += b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    array += b"(" + number(3) + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + number(0) + b"tb"
    array += b"\x89T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    numbers = b"](" + b"".join(number(label) for label in labels) + b"e"
    coarse = text(b"coarse_labels") + numbers
    return b"\x80\x02}q\x00(" + coarse + text(b"data") + array + text(key) + numbers + b"u."


def test_batches_of_python_2_are_read_with_their_fine_labels(write) -> None:
    rows, labels = cifar_rows(4), [5, 9, 9, 5]
    content = python2_batch(rows, labels)
    # The hand-made file is a whole pickle: the standard library's disassembler, which runs nothing, checks its stack.
    pickletools.dis(content, out=io.StringIO())
    path = write("train", content)
    training, _ = read_image_sets([path], [path])
    np.testing.assert_array_equal(training.images.transpose(0, 3, 1, 2).reshape(4, -1), rows)
    assert training.labels.tolist() == [0, 1, 1, 0]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("harm"),))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "content",
    [{"data": Harmful()}, [print], {"data": np.arange(3)}, {"data": np.array([None])}, {"labels": [0.5]}, {1: 2}],
)
def test_a_pickle_that_asks_for_more_is_refused_and_nothing_is_run(tmp_path, monkeypatch, protocol, content) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="pickle"):
        read_plain_pickle(pickle.dumps(content, protocol=protocol))
    assert not (tmp_path / "harm").exists()


def test_every_cut_of_a_pickle_is_refused() -> None:
    content = pickle.dumps({"data": cifar_rows(1), "labels": [1]}, protocol=4)
    for end in range(len(content)):
        with pytest.raises(ValueError, match=r".+"):
            read_plain_pickle(content[:end])


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


def test_a_zip_of_class_folders_is_read_by_parts_and_what_systems_leave_in_it_is_not(write) -> None:
    members = {
        "train/red/1.png": RED,
        "train/blue/2.png": BLUE,
        "test/red/../../../3.png": RED,
        "test/blue/4.png": BLUE,
    }
    noise = {"__MACOSX/train/red/._1.png": b"", "train/.DS_Store": b"", "train/readme.txt": b"words"}
    path = write("set.zip", zipped({**members, **noise}))
    # A folder called `..` begins with a dot: its picture is left out, and never becomes a path.
    training, test = read_image_sets([path], [path])
    assert training.classes == ("blue", "red")
    assert training.images.shape == (2, 5, 6, 3)
    assert [training.classes[i] for i in training.labels] == ["blue", "red"]
    np.testing.assert_array_equal(training.images[:, 0, 0], [(0, 0, 255), (255, 0, 0)])
    assert test.labels.tolist() == [0]


def test_a_zip_may_list_its_labels(write) -> None:
    listed = zipped({"labels.csv": b"file,label\na/1.png,x\n2.png,y\n", "a/1.png": RED, "2.png": BLUE, "3.png": RED})
    training, _ = read_image_sets([write("set.zip", listed)], [write("again.zip", listed)])
    assert [training.classes[i] for i in training.labels] == ["y", "x"]


def test_the_folder_that_an_archive_is_often_packed_in_is_looked_through(write) -> None:
    members = {"set/train/red/1.png": RED, "set/train/blue/2.png": BLUE, "set/test/blue/4.png": BLUE}
    path = write("set.zip", zipped(members))
    training, test = read_image_sets([path], [path])
    assert (len(training), len(test)) == (2, 1)


def test_one_zip_without_parts_cannot_serve_for_learning_and_judging(write) -> None:
    path = write("set.zip", zipped({"red/1.png": RED, "blue/2.png": BLUE}))
    with pytest.raises(TrainingDataError, match=r"one zip serves for learning and for judging .* Put train/ and test/"):
        read_image_sets([path], [path])


def test_a_list_of_labels_with_a_gap_is_refused(write) -> None:
    for row in (b"2.png\n", b"2.png,\n", b",y\n"):
        members = {"labels.csv": b"file,label\n1.png,x\n" + row, "1.png": RED, "2.png": BLUE}
        assert "lacks its file or its label" in message(
            [write("a.zip", zipped(members))], [write("b.zip", zipped(members))]
        )


def test_a_pickle_cannot_unpack_to_more_than_it_holds(write) -> None:
    # A text kept once and turned into bytes again and again.
    text = b"\x80\x02c_codecs\nencode\nq\x00X\x10\x00\x00\x00" + b"a" * 16 + b"q\x01X\x06\x00\x00\x00latin1q\x02"
    again = b"h\x00h\x01h\x02\x86R"
    path = write("batch", text + again * 50 + b".")
    assert "unpacks to more than it holds" in message([path], [write("other", text + again * 50 + b".")])


def message(training: list[Path], test: list[Path] | None = None) -> str:
    with pytest.raises(TrainingDataError) as caught:
        read_image_sets(training, test or training)
    return str(caught.value)


def test_files_that_cannot_be_used_end_in_one_message(write, tmp_path: Path) -> None:
    images, labels = write("images", idx(GREY)), write("labels", idx(LABELS))
    assert "no such file" in message([tmp_path / "none", labels])
    assert "not a known format" in message([write("text", b"words, words")])
    assert "not an idx file" in message([write("packed", gzip.compress(b"tar file")), labels])
    assert "fewer bytes than 12 x 9 x 7" in message([write("short", idx(GREY)[:-1]), labels])
    assert "more bytes than" in message([write("long", idx(GREY) + b"1"), labels])
    assert "cannot be read" in message([write("cut", gzip.compress(idx(GREY))[:-20]), labels])
    assert "12 images and 11 labels" in message([images, write("few", idx(LABELS[:-1]))])
    assert "one class only" in message([images, write("same", idx(LABELS * 0))])
    assert "one of labels" in message([images, images])
    assert "several formats" in message([images, write("batch", b"\x80\x04}.")])
    assert "a file of images and one of labels" in message([images])
    other = [write("others", idx(GREY[:, 1:])), labels]
    assert "another size" in message([images, labels], other)
    unknown = [images, write("unknown", idx(LABELS + 1))]
    assert "a class that is not learnt (found: 3)" in message([images, labels], unknown)


def test_archives_that_cannot_be_used_end_in_one_message(write, tmp_path: Path) -> None:
    both = {"x_train": GREY, "y_train": LABELS, "x_test": GREY}
    np.savez(tmp_path / "part.npz", **both)
    assert "lacks y_test" in message([tmp_path / "part.npz"])
    np.savez(tmp_path / "object.npz", **both, y_test=np.array([None] * 12))
    assert "cannot be read" in message([tmp_path / "object.npz"])
    np.savez(tmp_path / "float.npz", **{**both, "x_train": GREY / 2}, y_test=LABELS)
    assert "not a set of images" in message([tmp_path / "float.npz"])
    assert "several sizes" in message(
        [write("sizes.zip", zipped({"a/1.png": RED, "b/2.png": picture((1, 2, 3), (9, 9))}))]
    )
    assert "without a class" in message([write("loose.zip", zipped({"1.png": RED}))])
    assert "not there" in message([write("listed.zip", zipped({"labels.csv": b"file,label\n9.png,x\n", "1.png": RED}))])
    assert "no columns file and label" in message([write("odd.zip", zipped({"labels.csv": b"a,b\n", "1.png": RED}))])
    assert "cannot be read" in message([write("cut.zip", zipped({"a/1.png": RED[:-30]}))])
    # A GIF under another name is not decoded by what it is.
    assert "cannot be read" in message([write("gif.zip", zipped({"a/1.png": picture((1, 2, 3), form="GIF")}))])
    assert "cannot be read" in message([write("broken.zip", zipped({"a/1.png": RED})[:-12])])
    assert "no images" in message([write("empty.zip", zipped({"readme.txt": b"words"}))])
    assert "not a CIFAR batch" in message([write("list", pickle.dumps([1, 2], protocol=4))])
    assert "n x 3072" in message([write("narrow", pickle.dumps({"data": cifar_rows(2)[:, 1:], "labels": [1, 2]}))])


def test_claims_beyond_the_limit_are_refused_before_they_cost_memory(write, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_zip, "LIMIT", 2000)
    labels = write("labels", idx(LABELS))
    claim = bytes([0, 0, 8, 3]) + struct.pack(">3I", 60000, 60000, 60000)
    assert "more than an image set may hold" in message([write("claim", gzip.compress(claim)), labels])
    np.savez(tmp_path / "set.npz", x_train=np.zeros((99, 9, 9), np.uint8), y_train=LABELS)
    assert "more than an image set may hold" in message([tmp_path / "set.npz"])
    bomb = zipped({"a/1.png": picture((0, 0, 0), (900, 900))})
    assert "more than an image set may hold" in message([write("bomb.zip", bomb)])


def test_an_npz_whose_header_claims_more_than_it_holds_is_refused(write) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)})
    header = stream.getvalue()
    assert "does not hold what its header says" in message(
        [write("set.npz", zipped({"x_train.npy": header, "y_train.npy": header}))]
    )


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


def test_the_real_sets_are_read_as_other_libraries_read_them() -> None:
    if not CLASSIC.is_dir():
        pytest.skip("the real image sets are not here")
    files = [CLASSIC / "mnist" / f"t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1")]
    _, mnist = read_image_sets(files, files)
    content = gzip.decompress(files[0].read_bytes())
    np.testing.assert_array_equal(mnist.images[-1].ravel(), np.frombuffer(content[-784:], np.uint8))
    training, test = read_image_sets([CLASSIC / "cifar100.zip"], [CLASSIC / "cifar100.zip"])
    assert (training.images.shape, test.images.shape) == ((2500, 32, 32, 3), (1000, 32, 32, 3))
    assert np.bincount(test.labels).tolist() == [10] * 100
