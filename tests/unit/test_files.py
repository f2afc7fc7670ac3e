"""Files are there whole or not at all."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drunet import files
from drunet.errors import ConfigError, DrunetError
from drunet.files import check_writable, read_json, same_files, whole_file, write_json, write_text


def test_a_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "table.tsv"
    with whole_file(target) as temporary:
        temporary.write_text("a")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".tsv"
    assert target.read_text() == "a"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("old", [None, "old"])
def test_a_block_that_raises_leaves_the_old_file_and_no_other(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "table.tsv"
    if old is not None:
        target.write_text(old)
    with pytest.raises(KeyboardInterrupt), whole_file(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert [p.read_text() for p in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.tsv"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(target):
        pass
    assert target.read_text() == "old"


def test_a_target_that_cannot_be_replaced_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "folder.json"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(target, "x")
    assert list(tmp_path.iterdir()) == [target]


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "0.25 µm/px, tumör\n")
    assert (tmp_path / "a.txt").read_bytes() == "0.25 µm/px, tumör\n".encode()


def test_json_comes_back_and_is_readable_by_people(tmp_path: Path) -> None:
    value = {"mpp": 0.25, "reason": "µm/px fehlt", "levels": [1, 2], "none": None}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == json.loads(text) == value
    assert "µm/px" in text
    assert text.endswith("}\n")


def test_json_with_what_json_lacks_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"dsc": 1.0})
    for value in (math.nan, math.inf, {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", {"dsc": value})
    assert read_json(tmp_path / "a.json") == {"dsc": 1.0}
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_writer_left_is_removed_and_what_others_write_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".table.{ended.pid}.part.tsv"
    # A writer that asks for an ending of its own, as Keras does.
    with_more = tmp_path / f".table.{ended.pid}.part.weights.tsv"
    of_a_namesake = tmp_path / f".table.{os.getppid()}.part.tsv"
    running = tmp_path / f".table.{os.getpid()}.part.csv"
    stranger, other = tmp_path / ".table.notes.part.tsv.txt", tmp_path / f".table2.{ended.pid}.part.tsv"
    for path in (left, with_more, of_a_namesake, running, stranger, other):
        path.write_text("half")
    os.utime(of_a_namesake, (0, 0))
    write_text(tmp_path / "table.tsv", "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"table.tsv", running.name, stranger.name, other.name}


@pytest.mark.parametrize(
    "name",
    ["weights.weights.h5", "model.onnx", "segmentation.tif", "tissue.png", "s.1.2.parquet", "a[1].json", "no_suffix"],
)
def test_what_a_killed_writer_left_of_any_result_is_removed_by_the_next(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with whole_file(target) as temporary:
        left = temporary.with_name(temporary.name.replace(f".{os.getpid()}.", f".{ended.pid}."))
        temporary.write_text("whole")
    left.write_text("half")
    # As a process that starts anew: a process lists a folder once.
    files._begun.cache_clear()
    with whole_file(target) as temporary:
        assert not left.exists() and target.read_text() == "whole"
        temporary.write_text("again")
    assert [p.name for p in tmp_path.iterdir()] == [name] and target.read_text() == "again"


@pytest.mark.parametrize("raised", [OSError(28, "No space left on device"), MemoryError(), KeyboardInterrupt()])
def test_a_disk_that_fills_up_leaves_no_empty_file_that_counts_as_done(tmp_path: Path, raised: BaseException) -> None:
    with pytest.raises(type(raised)), whole_file(tmp_path / "tissue.png") as temporary:
        temporary.touch()
        raise raised
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_same_bytes_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    body = np.random.default_rng(0).bytes(3_000_000)
    # One byte far from the ends and from every sample is another.
    other = bytearray(body)
    other[500_000] ^= 1
    contents = {"a": body, "b": b"", "c": body, "d": bytes(other), "e": body[:-1], "f": b"", "g": b"x", "h": b"y"}
    contents["i"] = contents["g"]
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in [*contents, "missing"]]
    assert [[Path(p).name for p in group] for group in same_files(paths)] == [["a", "c"], ["g", "i"]]


@pytest.mark.parametrize(
    "text", ["\x1b]0;pwned\x07", "\x1b[2J", "a\nERROR  b", "a\rb", "\u202etxt", "\ud800", "\x00", "\x9b1m"]
)
def test_a_message_obeys_no_escape_and_is_one_line(text: str) -> None:
    for error in (
        DrunetError(text, where=text, found=text, mend=text),
        DrunetError("x", where="y", found=[text], mend=""),
    ):
        assert str(error).isprintable() and "\\" in str(error)
    assert str(DrunetError("Größe – 5 µm²", where="s", mend="x")) == "s: Größe – 5 µm². x"


def test_a_message_repeats_no_book() -> None:
    assert len(str(DrunetError("x", where="s", found="n" * 5_000_000, mend="y"))) < 500


def test_a_folder_that_cannot_be_written_to_is_told_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for fine in (tmp_path, tmp_path / "new/deep"):
        check_writable(fine)
    (tmp_path / "gone").symlink_to("nowhere")
    for wrong in (tmp_path / "file", tmp_path / "file/below", tmp_path / "gone"):
        with pytest.raises(ConfigError, match="results: nothing can be written"):
            check_writable(wrong)
    # Root may write wherever the disk itself lets it.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(ConfigError, match="results: nothing can be written") as caught:
        check_writable(tmp_path / "new/deep")
    assert caught.value.found == str(tmp_path)
