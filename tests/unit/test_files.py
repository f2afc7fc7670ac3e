"""Files are there whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from drunet.files import read_json, whole_file, write_json, write_text


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
