from __future__ import annotations

import pytest

from studies.common.page import by_name


def test_files_are_shared_out_as_snakemake_expands_them() -> None:
    from snakemake.io import expand

    names, slides = ["b", "a"], ["s1", "s2", "s3"]
    files = by_name(expand("{run}/{slide}.json", run=names, slide=slides), names)
    assert files == {name: [f"{name}/{slide}.json" for slide in slides] for name in names}
    assert by_name([], names) == {"b": [], "a": []}
    for wrong, of in ((["x"], names), (["x"], [])):
        with pytest.raises(ValueError, match="1 files"):
            by_name(wrong, of)
