"""Annotations: files of strangers, work without end, outlines and masks that do not fit, escapes and long text."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image
from torture.corpus import IDENTICAL, KEPT, REFUSED, Case, Damage, Member, Rng, members
from torture.intact import CENTRE, HEIGHT, NAME, PATIENT, RADIUS, WIDTH, geojson, outline

Xy = np.ndarray


def file(name: str, data: bytes | str | Callable[[], bytes | str]) -> Damage:
    """An annotation of another name and content."""

    def make(folder: Path, case: Case, rng: Rng) -> Case:
        path = folder / f"{NAME}{name}"
        held = data() if callable(data) else data
        path.write_bytes(held.encode("utf-8", "surrogatepass") if isinstance(held, str) else held)
        return Case(case.slide, path, case.kind)

    return make


def features(*parts: Any) -> Damage:
    """GeoJSON of these features, or of what makes them."""

    def text() -> str:
        held = [p for part in parts for p in (part() if callable(part) else [part])]
        return json.dumps({"type": "FeatureCollection", "features": held})

    return file(".geojson", text)


def ring(change: Callable[[Xy], Xy]) -> Damage:
    """The outline's corners, changed."""

    def make(folder: Path, case: Case, rng: Rng) -> Any:
        assert case.annotation
        drawn = json.loads(case.annotation.read_text(encoding="utf-8"))["features"][0]["geometry"]["coordinates"][0]
        return features(geojson(np.asarray(change(np.array(drawn))).tolist()))(folder, case, rng)

    return make


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


# Masks


def painted(width: int = WIDTH // 4, height: int = HEIGHT // 4, white: int = 255) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    factor = width / WIDTH
    cv2.circle(mask, (round(CENTRE[0] * factor), round(CENTRE[1] * factor)), round(RADIUS * factor), white, -1)
    return mask


def png(image: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", **options)
    return stream.getvalue()


def tif(image: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, metadata=None, **options)
    return stream.getvalue()


def saved(form: str) -> Callable[[], bytes]:
    def data() -> bytes:
        stream = io.BytesIO()
        Image.fromarray(painted()).convert("RGB").save(stream, form)
        return stream.getvalue()

    return data


def palette(colours: Sequence[int]) -> Callable[[], bytes]:
    def data() -> bytes:
        image = Image.fromarray((painted() > 0).astype(np.uint8), "P")
        image.putpalette([*colours, *[0] * (768 - len(colours))])
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    return data


def rgba(alpha: Callable[[np.ndarray], np.ndarray], grey: Callable[[np.ndarray], np.ndarray]) -> Callable[[], bytes]:
    return lambda: png(np.dstack([*[grey(painted())] * 3, alpha(painted())]))


def claimed(width: int, height: int) -> bytes:
    """A PNG that states a size and holds nothing of it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# XML


def asap(
    points: Sequence[Sequence[float]], kind: str = "Polygon", group: str = "Tumor", more: str = "", groups: str = ""
) -> str:
    corners = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points))
    one = f'<Annotation Name="{PATIENT}" Type="{kind}" PartOfGroup="{group}"><Coordinates>{corners}</Coordinates></Annotation>'
    return f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{one}{more}</Annotations><AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>'


def scope(*regions: str, layer: str = 'Name="Tumor"') -> str:
    return f'<Annotations MicronsPerPixel="0.5"><Annotation Id="1" {layer}><Regions>{"".join(regions)}</Regions></Annotation></Annotations>'


def region(points: Sequence[Sequence[float]], more: str = 'Type="0"', element: str = "Vertex") -> str:
    return (
        f'<Region Text="{PATIENT}" {more}><Vertices>'
        + "".join(f'<{element} X="{x}" Y="{y}"/>' for x, y in points)
        + "</Vertices></Region>"
    )


EPS = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 448 320\n%%EndComments\n({NAME}) print flush\n"
BOX = outline()[:-1]
ENTITY = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file://%s">]><ASAP_Annotations>&x;</ASAP_Annotations>'
LAUGHS = (
    "<!DOCTYPE a ["
    + '<!ENTITY b0 "ha">'
    + "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 10))
    + "]><ASAP_Annotations>&b9;</ASAP_Annotations>"
)
STRANGER: dict[str, Any] = {
    **{f"eps-as-{s}": file(f".{s}", EPS + "showpage\n") for s in ("png", "tif", "tiff")},
    "eps-loop": file(".png", EPS + "{ } loop\n"),
    "eps-with-preview": file(".png", b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIII", 30, len(EPS), 0, 0, 0, 0) + b"\xff\xff" + EPS.encode()),
    "postscript-as-geojson": file(".geojson", EPS),
    "pdf": file(".png", f"%PDF-1.4\n1 0 obj ({NAME}) endobj\n"),
    **{f"{form.lower()}-as-png": file(".png", saved(form)) for form in ("GIF", "BMP", "JPEG", "WEBP", "PCX", "TGA", "PPM", "SGI", "ICO", "JPEG2000", "PDF")},
    "fits": file(".png", (b"SIMPLE  =                    T" + b" " * 50) * 36),
    "psd": file(".tif", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 320, 448, 8, 3) + bytes(12)),
    "svg": file(".png", '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
    "pickle": file(".png", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."),
    "wmf": file(".png", b"\xd7\xcd\xc6\x9a" + bytes(60)),
    "xml-entity": lambda f, c, r: ((f / "secret").write_text(NAME), file(".xml", ENTITY % (f / "secret").as_posix())(f, c, r))[1],
    "xml-laughs": file(".xml", LAUGHS),
    "xml-dtd-of-elsewhere": file(".xml", '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><ASAP_Annotations/>'),
    "xml-include": file(".xml", '<Annotations xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd" parse="text"/><Annotation Name="Tumor"/></Annotations>'),
    "yaml": file(".geojson", "!!python/object/apply:os.system ['id']"),
}  # fmt: skip


def _scribble(corners: int, seed: int = 3) -> list[list[float]]:
    points = np.random.default_rng(seed).uniform((300, 300), (1200, 900), (corners, 2)).round(2)
    return [*points.tolist(), points[0].tolist()]


def _circle(
    corners: int, wobble: float = 0.0, centre: Sequence[float] = CENTRE, radius: float = RADIUS
) -> list[list[float]]:
    turn = np.linspace(0, 2 * np.pi, corners)
    far = radius + wobble * np.random.default_rng(5).uniform(-1, 1, corners)
    points = np.array(centre) + far[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    points[-1] = points[0]
    return points.round(4).tolist()  # type: ignore[no-any-return]


def _many(count: int, classes: Sequence[str] = ("Tumor",), over: float = 0.6) -> list[Any]:
    """Squares within the tumour; those of another class are so small that they change nothing."""
    side = int(np.ceil(count**0.5))
    step = 360 / side
    return [
        geojson(square(640 + step * (i % side), 420 + step * (i // side), step * over if of == "Tumor" else 0.1), of)
        for i in range(count)
        for of in [classes[i % len(classes)]]
    ]


def _noise(width: int, height: int) -> bytes:
    rng = np.random.default_rng(6)
    # Of so few single pixels that the area stays.
    return png(((rng.random((height, width)) > 0.02) * painted(width, height)).astype(np.uint8))


def _blobs(width: int, height: int) -> bytes:
    rng = np.random.default_rng(7)
    small = cv2.GaussianBlur(rng.normal(size=(height // 20, width // 20)), (0, 0), 2)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) > -0.28
    return png((large * painted(width, height)).astype(np.uint8))


ENDLESS: dict[str, Any] = {
    "scribble-5000": features(lambda: [geojson(_scribble(5000))]),
    "scribble-50000": features(lambda: [geojson(_scribble(50_000))]),
    "scribble-500": features(lambda: [geojson(_scribble(500))]),
    "circle-of-100000": (features(lambda: [geojson(_circle(100_001))]), {"allowed": KEPT}),
    "circle-of-1000000": features(lambda: [geojson(_circle(1_000_001))]),
    "wobbly-circle-of-100000": features(lambda: [geojson(_circle(100_001, 0.4))]),
    "regions-2000-of-two-classes": features(lambda: [geojson(), *_many(2000, ("Tumor", "Stroma"))]),
    "regions-10000-of-two-classes": features(lambda: [geojson(), *_many(10_000, ("Tumor", "Stroma"), 1.4)]),
    "regions-20000": features(lambda: [geojson(), *_many(20_000)]),
    "regions-2200-all-over": (features(lambda: [geojson(_circle(40, 0, CENTRE, 200 + 0.02 * i), ("Tumor", "Stroma")[i % 2]) for i in range(2200)]), {"allowed": REFUSED}),
    "same-region-5000-times": features(lambda: [geojson()] * 5000),
    "holes-10000": features(lambda: [geojson(geometry={"type": "Polygon", "coordinates": [outline(), *[square(640 + 3.5 * (i % 100), 420 + 3.5 * (i // 100), 0.5) for i in range(10_000)]]})]),
    "parts-20000-over-one-another": features(lambda: [geojson(geometry={"type": "MultiPolygon", "coordinates": [[square(620 + i % 300, 400 + i % 290, 30)] for i in range(20_000)]})]),
    "nested-arrays": file(".geojson", lambda: "[" * 200_000),
    "nested-objects": file(".geojson", lambda: '{"a":' * 100_000 + "1" + "}" * 100_000),
    "nested-collections": file(".geojson", lambda: json.dumps(geojson(geometry="X")).replace('"X"', '{"type": "GeometryCollection", "geometries": [' * 900 + '{"type": "Point", "coordinates": [1, 1]}' + "]}" * 900)),
    "numbers-of-5000-digits": file(".geojson", lambda: json.dumps(geojson()).replace("820", "9" * 5000)),
    "number-of-a-million-digits": file(".geojson", lambda: json.dumps(geojson()).replace("820", "9" * 10**6)),
    "string-of-40-mb": features(lambda: [geojson(properties={"objectType": "annotation", "name": "x" * 40_000_000, "classification": {"name": "Tumor"}})]),
    "noise-mask": file(".png", lambda: _noise(448, 320)),
    "noise-mask-large": file(".png", lambda: _noise(1344, 960)),
    "blobs-8400": file(".png", lambda: _blobs(8400, 6000)),
    "mask-178-megapixels-rgb": file(".png", lambda: png(np.dstack([painted(15_778, 11_270)] * 3), compress_level=1)),
    "mask-claims-a-gigapixel": file(".png", claimed(44_800, 32_000)),
    "mask-claims-2^31": file(".png", claimed(2**31 - 1, 2**31 - 1)),
    "asap-20000": file(".xml", lambda: asap(BOX, more="".join(f'<Annotation Type="Polygon" PartOfGroup="Tumor"><Coordinates>{"".join(f"""<Coordinate Order="{k}" X="{x}" Y="{y}"/>""" for k, (x, y) in enumerate(square(620 + i % 300, 400 + i // 300, 0.5)))}</Coordinates></Annotation>' for i in range(20_000)))),
    "asap-spline-of-20000": file(".xml", lambda: asap(_circle(20_000), "Spline")),
    "asap-groups-in-a-ring": file(".xml", lambda: asap(BOX, group="g0", groups="".join(f'<Group Name="g{i}" PartOfGroup="g{(i + 1) % 5000}"/>' for i in range(5000)))),
    "aperio-corners-300000": file(".xml", lambda: scope(region(_circle(300_000)))),
    "aperio-ellipses-5000": file(".xml", lambda: scope(region(BOX), *[region(square(620 + i % 250, 420 + i % 240, 40), 'Type="2"') for i in range(5000)])),
    "xml-nested": file(".xml", lambda: "<a>" * 200_000 + "</a>" * 200_000),
}  # fmt: skip


def stray(kind: str, coordinates: Any) -> Any:
    return geojson(geometry={"type": kind, "coordinates": coordinates})


def _traced() -> list[list[float]]:
    """As OpenCV traces a mask, every pixel, with a spike that touches itself."""
    mask = painted()
    mask[150, 20 + mask.shape[1] // 3 :: 1] = np.where(np.arange(mask.shape[1] - 20 - mask.shape[1] // 3) < 190, 255, 0)
    found = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    points = max(found, key=len)[:, 0] * 4.0
    return [*points.tolist(), points[0].tolist()]


EMPTY = "a whole annotation without regions is how a slide without tumour is told"
SYMMETRIC = "where tissue lies on both sides, an outline that was turned over lies on tissue, too"
SMALL = "an outline that is drawn smaller or aside, on tissue, is a pathologist's word"
# On a slide whose tissue fills a quarter: turned over, an outline lies on glass.
FRAMES: dict[str, Any] = {
    "upside-down": ring(lambda p: p * (1, -1) + (0, HEIGHT)),
    "upside-down-twice-the-height": ring(lambda p: p * (1, -1) + (0, 2 * HEIGHT)),
    "negative": ring(lambda p: p * (1, -1)),
    "mirrored": ring(lambda p: p * (-1, 1) + (WIDTH, 0)),
    "millimetres": ring(lambda p: p * 0.0005),
    "quarter": ring(lambda p: p / 4),
    "sixteenth": ring(lambda p: p / 16),
    "twice": ring(lambda p: p * 2),
    "shares": ring(lambda p: p / (WIDTH, HEIGHT)),
    "swapped": ring(lambda p: (p + (200, 0))[:, ::-1]),
    "moved-by-a-slide": ring(lambda p: p + (WIDTH, 0)),
    "on-glass": ring(lambda p: (p - p.mean(0)) / 4 + (1660, 1180)),
}  # fmt: skip
WRONG: dict[str, Any] = {
    "the-whole-slide": features(lambda: [geojson([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT], [0, 0]])]),
    "mask-inverted": file(".png", lambda: png(255 - painted())),
    "mask-all-white": file(".png", lambda: png(np.full((320, 448), 255, np.uint8))),
    "mask-of-another-aspect": file(".png", lambda: png(painted()[:, :300])),
    "mask-turned": file(".png", lambda: png(np.rot90(painted()).copy())),
    "mask-three-tones": file(".png", lambda: png(np.maximum(painted(), np.roll(painted(), 150, 1) // 2))),
    "mask-two-labels": file(".png", lambda: png(np.maximum(painted() // 255, np.roll(painted() // 255, 150, 1) * 2).astype(np.uint8))),
    "mask-two-colours": file(".png", lambda: png(np.dstack([painted(), np.roll(painted(), 150, 1), 0 * painted()]))),
    "mask-nan": file(".tif", lambda: tif(np.where(painted() > 0, np.nan, 0).astype(np.float32))),
    "mask-negative": file(".tif", lambda: tif(-(painted() > 0).astype(np.int16))),
    "mask-dark-16-bit": file(".tif", lambda: tif((painted() > 0).astype(np.uint16) * 300)),
    "mask-cut": file(".png", lambda: png(painted())[:-60]),
    "mask-tif-cut": file(".tif", lambda: tif(painted())[:60_000]),
    "untied": ring(lambda p: p[:-1]),
    "bow-tie": features(lambda: [geojson([[600, 400], [1000, 800], [1000, 400], [600, 800], [600, 400]])]),
    "twice-round": ring(lambda p: np.concatenate([p[:-1], p])),
    "unknown-class": features(geojson(name="Tumorr")),
    "no-class": features(geojson(properties={"objectType": "annotation"})),
    "class-of-a-number": features(geojson(properties={"objectType": "annotation", "classification": {"name": 7}})),
    "nan": file(".geojson", lambda: json.dumps(geojson()).replace("820", "NaN", 1)),
    "infinity": file(".geojson", lambda: json.dumps(geojson()).replace("820", "1e999", 1)),
    "strings": ring(lambda p: p.astype(str)),
    "one-number-a-corner": ring(lambda p: p[:, :1]),
    "two-corners": features(geojson([[600, 400], [900, 700], [600, 400]])),
    "cut": file(".geojson", lambda: json.dumps(geojson())[:-40]),
    "points-alone": features(stray("Point", [700, 700]), stray("LineString", [[700, 700], [800, 800]])),
    "empty-file": file(".geojson", b""),
    "of-another-program": file(".xml", "<annotation><object/></annotation>"),
    "unknown-suffix": file(".ndpa", "<annotations/>"),
    "utf-16": file(".geojson", lambda: json.dumps(geojson()).encode("utf-16")),
    "hidden-layer-alone": file(".xml", lambda: scope(region(BOX), layer='Name="Tumor" Visible="0"')),
    "negative-roa-alone": file(".xml", lambda: scope(region(BOX, 'Type="0" NegativeROA="1"'))),
    "aperio-rectangle-of-two": file(".xml", lambda: scope(region(BOX[:2], 'Type="1"'))),
    "asap-unknown-type": file(".xml", lambda: asap(BOX, "Sphere")),
    "asap-words-for-numbers": file(".xml", lambda: asap(BOX).replace('X="', 'X="x', 1)),
}  # fmt: skip
RIGHT: dict[str, Any] = {
    "backwards": ring(lambda p: p[::-1]),
    "doubled-corners": ring(lambda p: np.repeat(p, 2, axis=0)),
    "three-numbers-a-corner": ring(lambda p: np.column_stack([p, np.zeros(len(p))])),
    "bare-feature": file(".geojson", lambda: json.dumps(geojson())),
    "list-of-features": file(".geojson", lambda: json.dumps([geojson()])),
    "with-a-mark-in-front": file(".geojson", lambda: "\ufeff" + json.dumps(geojson())),
    "class-in-capitals": features(geojson(name="TUMOR")),
    "name-null": features(geojson(properties={"objectType": "annotation", "classification": {"name": None, "names": ["Tumor"]}})),
    "points-and-lines-beside": features(geojson(), stray("Point", [700, 700]), stray("LineString", [[1, 1], [90, 90]]), stray("MultiPoint", [[3, 3]])),
    "click-beside": features(geojson(), geojson([[700, 700], [700, 700], [700, 700], [700, 700]])),
    "over-the-edge-of-nothing": features(geojson(), geojson([[1700, 1200], [1795, 1200], [1795, 1282], [1700, 1282], [1700, 1200]], "Stroma")),
    "traced-by-opencv": features(lambda: [geojson(_traced())]),
    "mask": file(".png", lambda: png(painted(1792, 1280))),
    "mask-of-ones": file(".png", lambda: png(painted(1792, 1280, 1))),
    "mask-16-bit": file(".tif", lambda: tif(painted(1792, 1280).astype(np.uint16) * 257)),
    "mask-float": file(".tif", lambda: tif((painted(1792, 1280) / 255).astype(np.float32))),
    "mask-bool": file(".tif", lambda: tif(painted(1792, 1280) > 0, photometric="minisblack")),
    "mask-soft": file(".png", lambda: png(cv2.GaussianBlur(painted(1792, 1280), (0, 0), 2))),
    "mask-rgb": file(".png", lambda: png(np.dstack([painted(1792, 1280)] * 3))),
    "mask-palette": file(".png", palette([0, 0, 0, 255, 255, 255])),
    "mask-palette-of-red": file(".png", palette([0, 0, 0, 255, 0, 0])),
    "mask-transparent-glass": file(".png", rgba(lambda m: m, lambda m: np.full_like(m, 255))),
    "asap": file(".xml", lambda: asap(BOX)),
    "asap-decimal-comma": file(".xml", lambda: asap(BOX).replace(".", ",").replace("1,0", "1.0", 1)),
    "asap-nested-group": file(".xml", lambda: asap(BOX, group="nest", groups='<Group Name="nest" PartOfGroup="Tumor"/>')),
    "asap-dot-beside": file(".xml", lambda: asap(BOX, more='<Annotation Type="Dot" PartOfGroup="Tumor"><Coordinates><Coordinate Order="0" X="9" Y="9"/></Coordinates></Annotation>')),
    "aperio": file(".xml", lambda: scope(region(BOX))),
    "aperio-ellipse": file(".xml", lambda: scope(region([[560, 340], [1080, 860]], 'Type="2"'))),
    "aperio-ruler-beside": file(".xml", lambda: scope(region(BOX), region(BOX[:2], 'Type="4"'))),
    "halo": file(".annotations", lambda: scope(region(BOX, 'Type="Polygon"', "V"))),
}  # fmt: skip
PALETTE_COARSE = ("mask-palette", "mask-palette-of-red", "mask-transparent-glass")

NASTY = {
    "esc": "\x1b]0;pwned\x07\x1b[2J", "newline": "a\nERROR  all is lost", "return": "ok\rERROR", "nul": "a\0b", "c1": "\x9b2J", "bell": "\x07" * 99,
    "right-to-left": "\u202etumour", "surrogate": "\ud800", "tab": "a\tb", "separator": "a\u2028b", "long": "x" * 5_000_000,
}  # fmt: skip


def _noted(text: str) -> dict[str, Any]:
    """A feature with text in each of its free places, which all readers pass over."""
    return geojson(
        id=text,
        properties={
            "objectType": "annotation",
            "name": text,
            text[:99]: text,
            "classification": {"name": "Tumor"},
            "metadata": {"x": text},
        },
    )


def members_of_drawings() -> Iterator[Member]:
    yield from members("stranger", "generic", STRANGER, allowed=REFUSED)
    yield from members("endless", "generic", ENDLESS)
    yield from members("believed", "corner", FRAMES, allowed=REFUSED)
    turned = {k: FRAMES[k] for k in ("upside-down", "mirrored")}
    yield from members("believed", "generic", turned, allowed=frozenset(), undetectable=SYMMETRIC)
    yield from members("believed", "generic", WRONG, allowed=REFUSED)
    yield from members("believed", "generic", RIGHT, allowed=KEPT)
    told = {"nothing-outlined": (features(), {"undetectable": EMPTY}), "half-the-size": (ring(lambda p: (p - CENTRE) / 2 + CENTRE), {"undetectable": SMALL}),
            "in-micrometres": (ring(lambda p: p / 2), {"undetectable": SMALL}),
            "aside": (ring(lambda p: p + (150, 0)), {"undetectable": SMALL})}  # fmt: skip
    yield from members("believed", "generic", told, allowed=frozenset())
    for name, text in NASTY.items():
        held: dict[str, Any] = {
            f"{name}-beside": (features(_noted(text)), {"allowed": IDENTICAL}),
            f"{name}-as-class": (features(geojson(name=text)), {"allowed": REFUSED}),
            f"{name}-as-type": (
                features(geojson(), geojson(geometry={"type": text, "coordinates": []})),
                {"allowed": REFUSED},
            ),
        }
        if name not in ("esc", "nul", "bell", "surrogate"):
            held[f"{name}-as-group"] = (file(".xml", lambda text=text: asap(BOX, group=text)), {"allowed": REFUSED})
        yield from members("escapes", "generic", held)
