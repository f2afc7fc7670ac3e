"""Draft a sheet from a folder of slides and annotations: `drunet init-sheet FOLDER [SHEET]`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import openslide
import tifffile

from drunet import cohort
from drunet.annotation import READERS, read_annotation
from drunet.dicom import is_dicom
from drunet.errors import AnnotationError, SheetError
from drunet.files import LONGEST_ID, is_safe_id, whole_file

# Names that say whose a slide is, of public collections: TCGA, CPTAC, GTEx.
_PATIENTS = (r"TCGA-\w{2}-\w{4}(?=[-.]|$)", r"C3[LN]-\d{5}(?=[-.]|$)", r"GTEX-\w{4,5}(?=[-.]|$)")
_MASKS = re.compile(r"mask|annot|label|segment|ground.?truth", re.I)
# What is hung on a slide's name for its annotation.
_ENDING = re.compile(
    r"[-_. ](masks?|annotations?|labels?|tumou?r|segmentations?|svs|ndpi|mrxs|scn|bif|tiff?|dcm)$", re.I
)
# Neither slide nor annotation, and nothing that anyone would miss.
_PASSED_OVER = (".tsv", ".csv", ".txt", ".md", ".yaml")
_NAMED = 20


def draft(folder: Path, sheet: Path, classes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Write a sheet of what lies in a folder and below it, and yield in lines what was guessed and left out.

    Slides and annotations are paired by the stems of their names; `classes` are class names of annotations by meaning.
    Raises SheetError if there is no slide, or the sheet is there already.
    """
    if sheet.exists():
        raise SheetError("there is a sheet already", where="init-sheet", found=str(sheet), mend="Name another file.")
    slides, drawn, left_out = _sorted_out(folder)
    if not slides:
        mend = "Name the folder that holds them, or one above it."
        raise SheetError("no file there is a slide", where="init-sheet", found=str(folder), mend=mend)
    pairs: dict[Path, Path] = {}
    for path in sorted(drawn, key=lambda path: list(READERS).index(path.suffix.casefold())):
        fits = _of_name(path, slides)
        if len(fits) == 1 and fits[0] not in pairs:
            pairs[fits[0]] = path
        else:
            left_out[path] = f"annotates {len(fits) or 'no'} slides of its name, or one that has an annotation"
    known = next((p for p in _PATIENTS if all(re.match(p, slide.stem) for slide in slides)), "")
    ids, rows, kinds = list[str](), list[str](), Counter[str]()
    for path in slides:
        ids.append(_safe(path.stem, ids))
        kind, why = _kind(pairs[path], path, classes) if path in pairs else ("", "")
        kinds[f"{kind}: {why}"] += path in pairs
        match = re.match(known, path.stem) if known else None
        files = [os.path.relpath(file, sheet.parent) if file else "" for file in (path, pairs.get(path))]
        rows.append("\t".join([ids[-1], match.group() if match else ids[-1], files[0], "", files[1], kind]))
    guessed = "by the names of the files" if known else "guessed to be the slide: give all slides of a patient one code"
    remarks = [
        "slide_id: all that results show of a slide. It must name no patient",
        f"patient_id: {guessed}",
        *(f"annotation_kind: {count} guessed to be {kind}" for kind, count in kinds.items() if count),
        "split: empty, which means to segment only; `drunet split` draws one by patient",
    ]
    with whole_file(sheet) as temporary:
        head = [*(f"# {remark}." for remark in remarks), "\t".join(cohort.REQUIRED)]
        temporary.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
        cohort.check_files(cohort.read_sheets(str(temporary)).values())
    yield f"{sheet}: {len(slides)} slides, {len(pairs)} of them annotated."
    yield from (f"{remark}." for remark in remarks)
    yield from (f"left out: {path.relative_to(folder)}: {why}" for path, why in list(left_out.items())[:_NAMED])
    if len(left_out) > _NAMED:
        yield f"left out: {len(left_out) - _NAMED} more."


def _sorted_out(folder: Path) -> tuple[list[Path], list[Path], dict[Path, str]]:
    """Slides, annotations, and what is neither with the reason, below a folder."""
    slides, drawn, left_out, series = list[Path](), list[Path](), dict[Path, str](), set[object]()
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        of_mirax = any((folder / above).with_suffix(".mrxs").is_file() for above in within.parents if above.name)
        if not path.is_file() or of_mirax or any(part.startswith(".") for part in within.parts):
            continue
        suffix = path.suffix.casefold()
        if re.search(r"[{}<>\x00-\x1f]", str(path)):
            left_out[path] = "its path holds a character that Snakemake reads as its own"
        elif openslide.OpenSlide.detect_format(path) and not (suffix in (".tif", ".tiff") and _is_mask(path, within)):
            # A DICOM series is many files, of which OpenSlide takes any.
            own = _series(path) if is_dicom(path) else path
            slides += [path] * (own not in series)
            series.add(own)
        elif suffix in READERS:
            drawn.append(path)
        elif suffix not in _PASSED_OVER:
            left_out[path] = "no slide that OpenSlide reads, nor an annotation"
    return slides, drawn, left_out


def _is_mask(path: Path, within: Path) -> bool:
    """Whether a TIFF is a mask: by what its folder or itself is called, or as it has one channel."""
    with tifffile.TiffFile(path) as tiff:
        return bool(_MASKS.search(str(within))) or tiff.pages.first.samplesperpixel == 1


def _series(path: Path) -> object:
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).get("SeriesInstanceUID")


def _of_name(path: Path, slides: Sequence[Path]) -> list[Path]:
    """Slides of an annotation's name (001 of 001.xml, 001_mask.png, 001.svs.geojson) in the nearest folder."""
    stems = {path.stem.casefold(), _ENDING.sub("", path.stem.casefold())}
    shared = {s: len(os.path.commonpath([path.parent, s.parent])) for s in slides if s.stem.casefold() in stems}
    return [slide for slide, depth in shared.items() if depth == max(shared.values())]


def _safe(stem: str, taken: Sequence[str]) -> str:
    """An ID like the name of a file, and unlike those that are taken."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_-")[: LONGEST_ID - 5]
    name = name if is_safe_id(name) else "slide"
    others = {other.casefold() for other in (*taken, *cohort.NAMES_OF_A_RUN)}
    numbered = (f"{name}_{number}" if number > 1 else name for number in range(1, len(others) + 2))
    return next(own for own in numbered if own.casefold() not in others)


def _kind(annotation: Path, slide: Path, classes: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The kind of an annotation, and why: who marks other tissue than tumour marks parts."""
    with openslide.OpenSlide(slide) as handle:
        width, height = handle.dimensions
    try:
        drawn = read_annotation(annotation, kind="wta", where="", width=width, height=height, classes=classes)
    except AnnotationError:
        return "wta", "they cannot be read yet, `drunet doctor` says why"
    other = any(region.label == "non_tumour" for region in drawn.regions)
    return ("psa", "other tissue is marked too") if other else ("wta", "nothing but tumour is marked")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet init-sheet` is asked with."""
    parser.add_argument("folder", type=Path, help="with slides and annotations, also in folders below it")
    parser.add_argument("sheet", type=Path, nargs="?", help="to be written (default: slides.tsv in the folder)")


def run(asked: argparse.Namespace) -> int:
    """Write the sheet and say what was guessed."""
    from drunet.settings.merging import read_yaml

    shipped = read_yaml(Path(__file__).resolve().parents[2] / "config.yaml")["cohort"]["annotation_classes"]
    for line in draft(asked.folder, asked.sheet or asked.folder / "slides.tsv", shipped):
        sys.stdout.write(f"{line}\n")
    return 0
