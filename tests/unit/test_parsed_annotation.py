"""What inspection parsed is what later stages read, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from drunet.annotation import Annotation, Region
from drunet.annotation.outline import polygons_of
from drunet.annotation.parsed import read_parsed, read_provenance, write_parsed
from drunet.annotation.provenance import Provenance
from drunet.errors import DrunetError

SIZE = (640, 480)
DRAWN = Provenance("drawn")
numbers = st.floats(0, 400, allow_nan=False)


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    regions = []
    for _ in range(draw(st.integers(1, 3))):
        boxes = [
            shapely.box(x, y, x + w + 0.1, y + w + 0.7)
            for x, y, w in draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=3))
        ]
        merged = polygons_of(shapely.union_all(boxes))
        geometry = merged.geoms[0] if len(merged.geoms) == 1 else merged
        regions.append(
            Region(geometry, draw(st.text(min_size=1)), draw(st.sampled_from(["tumour", "non_tumour", "ignore"])))
        )
    return Annotation(draw(st.sampled_from(["wta", "psa"])), tuple(regions))


@given(annotations())
def test_an_annotation_comes_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, annotation: Annotation) -> None:
    path = tmp_path_factory.mktemp("parsed") / "a.parquet"
    write_parsed(path, annotation, DRAWN, slide_id="s", size=SIZE)
    back = read_parsed(path, slide_id="s", size=SIZE)
    assert back is not None and back.kind == annotation.kind
    assert [(r.name, r.label) for r in back.regions] == [(r.name, r.label) for r in annotation.regions]
    for one, other in zip(back.regions, annotation.regions, strict=True):
        assert one.geometry.geom_type == other.geometry.geom_type
        assert shapely.get_coordinates(one.geometry).tobytes() == shapely.get_coordinates(other.geometry).tobytes()


def test_no_annotation_is_not_an_empty_one(tmp_path: Path) -> None:
    write_parsed(tmp_path / "none.parquet", None, None, slide_id="s", size=SIZE)
    assert read_parsed(tmp_path / "none.parquet", slide_id="s", size=SIZE) is None
    write_parsed(tmp_path / "empty.parquet", Annotation("wta", ()), DRAWN, slide_id="s", size=SIZE)
    assert read_parsed(tmp_path / "empty.parquet", slide_id="s", size=SIZE) == Annotation("wta", ())


def test_where_it_comes_from_is_kept(tmp_path: Path) -> None:
    whence = Provenance("corrected", ("run a (m 0123)", "run b (m 4567)"))
    write_parsed(tmp_path / "a.parquet", Annotation("wta", ()), whence, slide_id="s", size=SIZE)
    assert read_provenance(tmp_path / "a.parquet") == whence


def test_the_same_annotation_gives_the_same_bytes(tmp_path: Path) -> None:
    annotation = Annotation("psa", (Region(shapely.box(1, 2, 30, 40), "Tumor", "tumour"),))
    for name in ("a", "b"):
        write_parsed(tmp_path / name, annotation, DRAWN, slide_id="s", size=SIZE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("slide", "size"), [("t", SIZE), ("s", (480, 640))])
def test_another_slides_annotation_is_refused(tmp_path: Path, slide: str, size: tuple[int, int]) -> None:
    write_parsed(tmp_path / "a.parquet", None, None, slide_id="s", size=SIZE)
    with pytest.raises(DrunetError, match=r"not the parsed annotation of this slide .* Delete it"):
        read_parsed(tmp_path / "a.parquet", slide_id=slide, size=size)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parsed(
        path, Annotation("wta", (Region(shapely.box(0, 0, 9, 9), "x", "tumour"),)), DRAWN, slide_id="s", size=SIZE
    )
    whole, table = path.read_bytes(), pq.read_table(path)
    for content in (b"no table", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DrunetError, match="not the parsed annotation"):
            read_parsed(path, slide_id="s", size=SIZE)
    for foreign in (table.replace_schema_metadata({}), table.drop_columns(["label"])):
        pq.write_table(foreign, path)
        with pytest.raises(DrunetError, match="not the parsed annotation"):
            read_parsed(path, slide_id="s", size=SIZE)
    unknown = table.set_column(1, "label", [["perhaps"]])
    pq.write_table(unknown, path)
    with pytest.raises(DrunetError, match="unknown label"):
        read_parsed(path, slide_id="s", size=SIZE)
