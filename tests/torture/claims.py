"""Resolutions that cannot be true, and names that must not leave (kinds `resolution`, `names`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torture import intact, tiffs
from torture.corpus import IDENTICAL, KEPT, REFUSED, Case, Damage, Member, Rng, members, on_slide
from torture.intact import NAME
from torture.tags import both, in_dicom, picture, tag

INF, NAN = float("inf"), float("nan")


# Resolutions


def given(mpp: float) -> Damage:
    """A value in the sheet."""
    return lambda _, case, rng: Case(case.slide, case.annotation, case.kind, mpp)


def aperio_says(mpp: float | None, power: float | None) -> Damage:
    return lambda _, case, rng: intact.aperio(case.slide, intact.drawn(), mpp=mpp, power=power) and None


def per_cm(mpp: float) -> tuple[int, int]:
    return round(1e7 / mpp), 1000


PLAUSIBLE = "a plausible resolution that nothing in the file contradicts"
UNDETECTABLE = {"allowed": frozenset(), "undetectable": PLAUSIBLE}
RESOLUTION: dict[str, Any] = {
    **{f"sheet-{v:g}": (given(v), {"allowed": REFUSED}) for v in (20, 10, 40, 5, 0.05, 0.01, -1, 1000, NAN)},
    "sheet-right": (given(0.5), {"allowed": IDENTICAL}),
    "sheet-twice": (given(1.0), UNDETECTABLE),
    "sheet-half": (given(0.25), UNDETECTABLE),
}
BY_TAGS: dict[str, Any] = {
    "level-0-alone-times-4": both("2I", per_cm(2.0)),
    "level-0-alone-times-10": both("2I", per_cm(5.0)),
    "level-0-alone-by-4": both("2I", per_cm(0.125)),
    "x-alone": tag("XResolution", "2I", per_cm(1.0)),
    "y-alone-slightly": tag("YResolution", "2I", per_cm(0.6)),
    "none": both("2I", (1, 1)),
    "72-dpi": lambda f, c, r: [both("2I", (72, 1))(f, c, r), tiffs.retag(c.slide, "ResolutionUnit", "H", 2)] and None,
    "infinite": both("2I", (1, 0)),
    "unit-none": tag("ResolutionUnit", "H", 1),
    "unit-inch": tag("ResolutionUnit", "H", 2),
    "level-1-alone": (both("2I", per_cm(3.0), page=1), {"allowed": KEPT}),
    "levels-1-and-2-nought": lambda f, c, r: [both("2I", (0, 1), page=p)(f, c, r) for p in (1, 2)] and None,
}


def resolution() -> Iterator[Member]:
    yield from members("resolution", ("generic", "svs", "dicom"), RESOLUTION)
    yield from members("resolution", "generic", BY_TAGS)
    one = {
        k: v
        for k, v in BY_TAGS.items()
        if k in ("x-alone", "y-alone-slightly", "none", "72-dpi", "infinite", "unit-none")
    }
    yield from members("resolution", ("single", "ome"), one)
    wrong = {"times-2": both("2I", per_cm(1.0)), "half": both("2I", per_cm(0.25))}
    yield from members("resolution", "single", wrong, **UNDETECTABLE)
    far = {
        "times-100": both("2I", per_cm(50.0)),
        "by-100": both("2I", per_cm(0.005)),
        "300-mm": both("2I", per_cm(18.0)),
    }
    yield from members("resolution", ("single", "ome"), far, allowed=REFUSED)
    said: dict[str, Any] = {
        f"mpp-{m:g}-power-{p:g}": aperio_says(m, p) for m, p in ((5.0, 20), (0.05, 20), (0.5, 400), (10, 40), (0.5, 1))
    }
    said |= {"mpp-none": aperio_says(None, 20), "mpp-nought": aperio_says(0.0, 20), "nothing": aperio_says(None, None)}
    yield from members("resolution", "svs", said, allowed=REFUSED)
    text = {
        "mpp-word": on_slide(tiffs.replace_text, b"MPP = 0.5000", b"MPP = half  "),
        "mpp-nan": on_slide(tiffs.replace_text, b"MPP = 0.5000", b"MPP = nan   "),
        "mpp-inf": on_slide(tiffs.replace_text, b"MPP = 0.5000", b"MPP = inf   "),
        "mpp-negative": on_slide(tiffs.replace_text, b"MPP = 0.5000", b"MPP = -0.500"),
        "mpp-comma": on_slide(tiffs.replace_text, b"MPP = 0.5000", b"MPP = 0,5000"),
        "power-word": on_slide(tiffs.replace_text, b"AppMag = 20", b"AppMag = xx"),
    }
    yield from members("resolution", "svs", text)

    def spacing(*values: float) -> Damage:
        return in_dicom(
            lambda d: setattr(
                d.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "PixelSpacing", list(values)
            )
        )

    found = {"spacing-um": spacing(0.5, 0.5), "spacing-nought": spacing(0, 0), "spacing-uneven": spacing(0.0005, 0.001),
             "spacing-negative": spacing(-0.0005, -0.0005), "spacing-tiny": spacing(1e-9, 1e-9)}  # fmt: skip
    yield from members("resolution", "dicom", found, allowed=REFUSED)
    yield from members("resolution", "dicom", {"spacing-twice": spacing(0.001, 0.001)})


# Names


def renamed(name: str) -> Damage:
    """The slide under another name; its annotation, too."""

    def make(folder: Path, case: Case, rng: Rng) -> Case:
        slide = folder / name
        slide.parent.mkdir(parents=True, exist_ok=True)
        case.slide.rename(slide)
        return Case(slide, case.annotation, case.kind, case.mpp)

    return make


def broken_after(name: str, data: bytes = b"no slide") -> Damage:
    def make(folder: Path, case: Case, rng: Rng) -> Case:
        found: Case = renamed(name)(folder, case, rng)
        found.slide.write_bytes(data)
        return found

    return make


def companions(kind: str) -> Damage:
    """A planted set of files that names others, of which some are not there: no writer of these formats exists."""

    def make(folder: Path, case: Case, rng: Rng) -> Case:
        if kind == "mrxs":
            slide, home = folder / f"{NAME}.mrxs", folder / NAME
            home.mkdir()
            slide.write_bytes(picture(".jpg"))
            text = f"[GENERAL]\nSLIDE_ID = {NAME}\nIMAGENUMBER_X = 2\nIMAGENUMBER_Y = 2\nOBJECTIVE_MAGNIFICATION = 20\n"
            text += f"CameraImageDivisionsPerSide = 1\n[HIERARCHICAL]\nINDEXFILE = {NAME}-Index.dat\nHIER_COUNT = 1\n"
            text += f"NONHIER_COUNT = 0\nHIER_0_NAME = Slide zoom level\nHIER_0_COUNT = 1\n[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = {NAME}.dat\n"
            (home / "Slidedat.ini").write_bytes(b"\xef\xbb\xbf" + text.encode())
        else:
            slide = folder / f"{NAME}.{kind}"
            lines = [
                f"[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\nImageFile={NAME}(0,0).jpg"
            ]
            lines += [
                f"MapFile={NAME}.map",
                f"OptimisationFile={NAME}.opt",
                "SourceLens=20",
                "PhysicalWidth=1\nPhysicalHeight=1",
            ]
            slide.write_text("\n".join(lines))
        return Case(slide, case.annotation)

    return make


def names() -> Iterator[Member]:
    files = [f"S1.{NAME}", f"a.tif.{NAME}", f".{NAME}", f"{NAME} 1950.{NAME}", f"{NAME}/{NAME}/{NAME}.tif", f"{NAME}\u0308 æ.tif",
             f"{NAME}\n1950.tif", f"{NAME}\x1b[2J.tif", f"{NAME}'\"$(id).tif", f"-{NAME}.tif", f"{NAME}*?[a].tif"]  # fmt: skip
    yield from members(
        "names", "generic", {f"file-{n}": (renamed(f), {"allowed": IDENTICAL}) for n, f in enumerate(files)}
    )
    yield from members(
        "names", "generic", {f"no-slide-{n}": (broken_after(f), {"allowed": REFUSED}) for n, f in enumerate(files)}
    )
    yield from members("names", "generic", {k: companions(k) for k in ("mrxs", "vms", "vmu")}, allowed=REFUSED)
    power = {
        "in-magnification": on_slide(
            tiffs.replace_text, b"AppMag = 20|MPP = 0.5000", f"AppMag = {NAME}||".encode().ljust(24, b"|")
        )
    }
    yield from members("names", "svs", power, allowed=REFUSED)
    spoilt = {"in-description": tag("ImageDescription", "s", f"{NAME} \xe6".encode("cp437", "replace") + b"\xff\x91"),
              "in-broken-tags": lambda f, c, r: tiffs.retag(c.slide, "XResolution", "s", NAME)}  # fmt: skip
    yield from members("names", ("generic", "single"), spoilt)
    cuts = {f"cut-at-{share}": on_slide(tiffs.cut, share / 100) for share in (20, 70)}
    yield from members("names", ("generic", "svs", "ome", "single", "dicom"), cuts)
    spread = {"in-all-tags": lambda f, c, r: [tiffs.retag(c.slide, t, "s", NAME) for t in ("Software", "ImageDescription")] and None,
              "in-a-link": lambda f, c, r: [c.slide.rename(f / f"{NAME}.real"), c.slide.symlink_to(f / f"{NAME}.real")] and None}  # fmt: skip
    yield from members("names", "generic", spread, allowed=IDENTICAL)
