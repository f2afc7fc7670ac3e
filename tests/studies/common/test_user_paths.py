"""Folders that are written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.common.user_paths import whole_folder


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "new" / "pictures"
    if there:
        # A workflow makes the folder before the rule that fills it.
        target.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as temporary:
        (temporary / "1.png").write_text("a")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.rglob("*")] == ["new", "pictures"][: 1 + there]
    with whole_folder(target) as temporary:
        (temporary / "1.png").write_text("a")
        assert not (target / "1.png").exists()
    assert [p.name for p in target.iterdir()] == ["1.png"] and len(list(target.parent.iterdir())) == 1
