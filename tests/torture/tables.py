"""Cohort sheets, zips of images, and text in them (kinds `sheets`, `zips` and some of `escapes`)."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torture.corpus import IDENTICAL, REFUSED, Damage, Member, Rng, members
from torture.drawings import EPS, claimed, geojson, png
from torture.intact import PATIENT

COLUMNS = ("slide_id", "patient_id", "path", "split", "annotation", "annotation_kind", "mpp")
ROWS = [
    ["s1", "P01", "one.tif", "train", "one.geojson", "wta", "0.5"],
    ["s2", "P02", "two.tif", "test", "two.geojson", "psa", ""],
    ["s3", "P03", "three.tif", "", "", "", "0.25"],
]
Rows = list[list[str]]


def write_files(folder: Path) -> None:
    for row in ROWS:
        (folder / row[2]).write_bytes(f"slide {row[0]}".encode())
        if row[4]:
            (folder / row[4]).write_text(json.dumps(geojson()), encoding="utf-8")


def text_of(rows: Rows, header: Sequence[str] = COLUMNS, mark: str = "\t", end: str = "\n") -> str:
    return end.join(mark.join(row) for row in [list(header), *rows]) + end


def sheet(
    change: Callable[[Rows], Any] = lambda rows: None,
    write: Callable[[Rows], str | bytes] = text_of,
    files: Callable[[Path], Any] = lambda f: None,
) -> Damage:
    """A sheet with changed rows, written in another way, beside files that are changed, too."""

    def make(folder: Path, case: None, rng: Rng) -> Path:
        write_files(folder)
        rows = [list(row) for row in ROWS]
        change(rows)
        files(folder)
        data = write(rows)
        path = folder / "slides.tsv"
        path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
        return path

    return make


def cell(row: int, column: str, value: str) -> Damage:
    return sheet(lambda rows: rows[row].__setitem__(COLUMNS.index(column), value))


def moved(value: str, column: str = "path") -> Damage:
    """A file under another name, and the sheet says so."""

    def make(folder: Path, case: None, rng: Rng) -> Path:
        def files(home: Path) -> None:
            (home / value).parent.mkdir(parents=True, exist_ok=True)
            (home / ROWS[1][COLUMNS.index(column)]).rename(home / value)

        return sheet(lambda rows: rows[1].__setitem__(COLUMNS.index(column), value), files=files)(folder, case, rng)  # type: ignore[no-any-return,arg-type]

    return make


GOOD = {"allowed": IDENTICAL}
SHEETS: dict[str, Any] = {
    "intact": (sheet(), GOOD),
    "crlf": (sheet(write=lambda r: text_of(r, end="\r\n")), GOOD),
    "byte-order-mark": (sheet(write=lambda r: "\ufeff" + text_of(r)), GOOD),
    "blank-lines": (sheet(write=lambda r: "\n\n" + text_of(r) + "\n# told\n\n"), GOOD),
    "columns-in-another-order": (sheet(write=lambda r: text_of([row[::-1] for row in r], COLUMNS[::-1])), GOOD),
    "blanks-around": (sheet(lambda r: r[0].__setitem__(0, "  s1  ")), GOOD),
    "commas": sheet(write=lambda r: text_of(r, mark=",")),
    "semicolons": sheet(write=lambda r: text_of(r, mark=";")),
    "latin-1": sheet(lambda r: r[0].__setitem__(1, "Bjørn"), lambda r: text_of(r).encode("latin-1")),
    "utf-16": sheet(write=lambda r: text_of(r).encode("utf-16")),
    "empty": sheet(write=lambda r: b""),
    "header-alone": sheet(lambda r: r.clear()),
    "zip": sheet(write=lambda r: b"PK\x03\x04" + bytes(90)),
    "nul": cell(1, "patient_id", "P\x002"),
    "quote-open": cell(1, "annotation", '"two.geojson'),
    "quote-with-a-break": cell(1, "annotation", '"two\n.geojson"'),
    "cell-too-many": sheet(lambda r: r[1].append("more")),
    "column-missing": sheet(write=lambda r: text_of([row[:5] + row[6:] for row in r], COLUMNS[:5] + COLUMNS[6:])),
    "column-misspelt": sheet(write=lambda r: text_of(r, [*COLUMNS[:6], "mppp"])),
    "column-twice": sheet(write=lambda r: text_of([[*row, "0.25"] for row in r], [*COLUMNS, "mpp"])),
    "id-twice": cell(1, "slide_id", "s1"),
    "id-in-capitals": cell(1, "slide_id", "S1"),
    "id-empty": cell(1, "slide_id", ""),
    **{f"id-{n}": cell(1, "slide_id", v) for n, v in enumerate(("../s2", "a/b", "metrics.tsv", "x" * 200, "a b", ".", "s{2}", "-s2", "Åse", "con\x1b[2J", "ab" * 40, "s2.json"))},
    "patient-on-both-sides": cell(1, "patient_id", "P01"),
    "patient-in-capitals": cell(1, "patient_id", "p01"),
    "patient-empty": cell(1, "patient_id", ""),
    "split-unknown": cell(1, "split", "testing"),
    "kind-unknown": cell(1, "annotation_kind", "whole"),
    "kind-without-annotation": cell(2, "annotation_kind", "wta"),
    "annotation-without-kind": cell(1, "annotation_kind", ""),
    **{f"mpp-{v or 'blank'}": cell(1, "mpp", v) for v in ("0", "-0.5", "nan", "inf", "half", "0,5", "0x1", "1e999")},
    "file-twice": cell(1, "path", "one.tif"),
    "file-twice-by-another-way": cell(1, "path", "./x/../one.tif"),
    "file-twice-by-a-link": sheet(files=lambda f: ((f / "two.tif").unlink(), (f / "two.tif").symlink_to("one.tif"))),
    "annotation-twice": cell(1, "annotation", "one.geojson"),
    "file-missing": cell(1, "path", "gone.tif"),
    "file-a-folder": sheet(files=lambda f: ((f / "two.tif").unlink(), (f / "two.tif").mkdir())),
    "file-not-to-be-found": sheet(files=lambda f: ((f / "two.tif").unlink(), (f / "two.tif").symlink_to("two.tif"))),
    "path-over-long": cell(1, "path", "x" * 300 + ".tif"),
    "path-with-braces": moved("s{2}.tif"),
    "path-with-a-wildcard": moved("{slide}.tif"),
    "path-in-angles": moved("<results>.tif"),
    "path-with-an-escape": moved("two\x1b[2J.tif"),
    "path-surrogate": cell(1, "path", "two\udce6.tif"),
    **{f"path-odd-{n}": (moved(v), {"allowed": frozenset({"refused", "identical"})}) for n, v in enumerate(("a b.tif", "$(id).tif", "a;b.tif", "a'b.tif", "-two.tif", "#two.tif", "=1+1.tif", "*?.tif", "æøå.tif", "a\\b.tif"))},
    "of-a-patient": (cell(1, "patient_id", PATIENT), {"allowed": frozenset({"refused", "identical"})}),
    "of-a-patient-open-quote": cell(1, "patient_id", f'"{PATIENT}'),
    "of-a-patient-twice": sheet(lambda r: [row.__setitem__(1, PATIENT) for row in r]),
    "of-a-patient-too-many": sheet(lambda r: r[1].append(PATIENT)),
}  # fmt: skip

# Zips


def picture(seed: int, side: int = 16) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


FILES = {
    f"{part}/{name}/{i}.png": picture(10 * i + len(part) + len(name))
    for part in ("train", "test")
    for name in ("normal", "tumour")
    for i in range(3)
}
Files = dict[str, bytes]


def zipped(change: Callable[[Files], Any] = lambda files: None, then: Callable[[bytes], bytes] = lambda data: data, method: int = zipfile.ZIP_DEFLATED,
           more: Callable[[zipfile.ZipFile], Any] = lambda archive: None) -> Damage:  # fmt: skip
    def make(folder: Path, case: None, rng: Rng) -> Path:
        files = dict(FILES)
        change(files)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            more(archive)
        path = folder / "set.zip"
        path.write_bytes(then(stream.getvalue()))
        return path

    return make


def added(name: str, data: bytes = b"") -> Damage:
    return zipped(lambda files: files.__setitem__(name, data or picture(99)))


def instead(data: bytes, name: str = "train/tumour/1.png") -> Damage:
    return zipped(lambda files: files.__setitem__(name, data))


def arrays(**change: Any) -> Damage:
    """An npz, its arrays changed."""

    def make(folder: Path, case: None, rng: Rng) -> Path:
        held: dict[str, Any] = {}
        for end, part in (("train", "train"), ("test", "test")):
            names = sorted(n for n in FILES if n.startswith(part))
            held[f"x_{end}"] = np.stack([np.asarray(Image.open(io.BytesIO(FILES[n]))) for n in names])
            held[f"y_{end}"] = np.array([int("tumour" in n) for n in names])
        held |= {k: v(held[k]) if callable(v) else v for k, v in change.items()}
        path = folder / "set.npz"
        np.savez_compressed(path, **held)
        return path

    return make


def _npy(shape: str, data: bytes = b"", kind: str = "|u1") -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def npy(name: str, data: bytes) -> Damage:
    return zipped(
        lambda files: (
            files.clear(),
            files.update({f"{n}.npy": _npy("(1, 2, 2)", bytes(4)) for n in ("x_train", "x_test")}),
            files.update({f"{n}.npy": _npy("(1,)", b"\0") for n in ("y_train", "y_test")}),
            files.__setitem__(name, data),
        )
    )


def _text_bomb() -> bytes:
    held = picture(99)
    body = b"zTXt" + b"Comment\0\0" + zlib.compress(bytes(200_000_000))
    return held[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + held[33:]


def _linked(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("train/tumour/9.png")
    info.external_attr = 0o120777 << 16
    archive.writestr(info, "/etc/passwd")


EITHER = {"allowed": frozenset({"refused", "identical"})}
ZIPS: dict[str, Any] = {
    "intact": (zipped(), GOOD),
    "stored": (zipped(method=zipfile.ZIP_STORED), GOOD),
    "one-folder-above": (zipped(lambda f: [f.__setitem__(f"set/{n}", f.pop(n)) for n in list(f)]), GOOD),
    "with-notes-beside": (zipped(lambda f: f.update({"README.txt": b"x", "__MACOSX/._a": b"x", ".DS_Store": b"x"})), EITHER),
    **{f"cut-at-{s}": zipped(then=lambda d, s=s: d[: len(d) * s // 100]) for s in (0, 20, 60, 99)},
    "noise": zipped(then=lambda d: np.random.default_rng(3).bytes(len(d))),
    "spoilt-inside": zipped(then=lambda d: d[:1000] + bytes(600) + d[1600:]),
    "wrong-check-sum": zipped(then=lambda d: d[:200] + bytes([d[200] ^ 1]) + d[201:], method=zipfile.ZIP_STORED),
    "encrypted": zipped(then=lambda d: d.replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00").replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")),
    "strange-method": zipped(then=lambda d: d.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63\x00")),
    "out-of-the-folder": (zipped(lambda f: f.__setitem__("../../train/tumour/1.png", f.pop("train/tumour/1.png"))), EITHER),
    "from-the-root": (zipped(lambda f: f.__setitem__("/train/tumour/1.png", f.pop("train/tumour/1.png"))), EITHER),
    "link": zipped(more=_linked),
    "same-name-twice": zipped(more=lambda a: a.writestr("train/tumour/1.png", picture(77))),
    "bomb-of-text": (added("labels.csv", bytes(100_000_000)), EITHER),
    "bomb-of-pixels": instead(claimed(60_000, 60_000)),
    "bomb-in-a-comment": instead(_text_bomb()),
    "bomb-of-10-gb": zipped(then=lambda d: d.replace(struct.pack("<I", len(FILES["train/tumour/1.png"])), struct.pack("<I", 2**32 - 2))),
    "names-10000": (zipped(lambda f: f.update({f"a/{i}.txt": b"" for i in range(10_000)})), EITHER),
    "folders-nested": added("/".join(["d"] * 2000) + "/9.png"),
    "eps": instead(EPS.encode()),
    "gif": instead(b"GIF89a\x01\x00\x01\x00\x00\xff\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;"),
    "text-for-a-picture": instead(b"no picture"),
    "empty-picture": instead(b""),
    "picture-cut": instead(picture(5)[:300]),
    "another-size": instead(picture(5, 17)),
    "without-a-class": added("train/9.png"),
    "one-class": zipped(lambda f: [f.pop(n) for n in list(f) if "tumour" in n]),
    "class-in-test-alone": added("test/other/9.png"),
    "no-test": zipped(lambda f: [f.pop(n) for n in list(f) if n.startswith("test")]),
    "no-picture": zipped(lambda f: f.clear()),
    "zip-in-a-zip": (instead(b"PK\x05\x06" + bytes(18), "train/tumour/1.zip"), EITHER),
    "escapes-in-a-name": added("train/tumour/\x1b[2J\u202e.png", b"no picture"),
    "npz": (arrays(), EITHER),
    "npz-lacks-labels": npy("y_train.npy", b""),
    "npz-of-objects": arrays(y_train=np.array([{}], object)),
    "npz-labels-too-few": arrays(y_train=lambda y: y[:-1]),
    "npz-labels-of-parts": arrays(y_train=lambda y: y + 0.5),
    "npz-of-floats": arrays(x_train=lambda x: x / 255),
    "npz-of-nan": arrays(x_train=lambda x: x * np.nan),
    "npz-of-two-sizes": arrays(x_test=lambda x: x[:, :8]),
    "npz-of-five-axes": arrays(x_train=lambda x: x[None]),
    "npz-claims-2^40": npy("x_train.npy", _npy("(1099511627776,)")),
    "npz-negative": npy("x_train.npy", _npy("(-5, 2, 2)")),
    "npz-header-of-code": npy("x_train.npy", _npy("__import__('os').system('id')")),
}  # fmt: skip


def members_of_tables() -> Iterator[Member]:
    yield from members("sheets", "sheet", SHEETS, runner="sheet", allowed=REFUSED)
    yield from members("zips", "images", ZIPS, runner="zip", allowed=REFUSED)
    texts = {
        "esc": "\x1b]0;pwned\x07",
        "bell": "\x07",
        "c1": "\x9b2J",
        "right-to-left": "\u202e",
        "separator": "\u2028",
        "long": "x" * 3_000_000,
    }
    for name, text in texts.items():
        held = {f"{name}-in-{column}": cell(1, column, f"a{text}b") for column in ("slide_id", "split", "mpp", "path")}
        held[f"{name}-in-a-column"] = sheet(write=lambda r, t=text: text_of(r, [*COLUMNS[:5], f"annotation{t}", "mpp"]))
        yield from members("escapes", "sheet", held, runner="sheet", allowed=REFUSED)
