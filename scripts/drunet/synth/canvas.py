"""The layers of stain of one demo slide, and the strokes that tissues are painted with."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drunet.synth.fields import Field, enlarge, inside_distance, lattice, smooth_noise, warp
from drunet.synth.layout import LAYOUT_MPP, Kind, Layout
from drunet.synth.nuclei import TUMOUR, Bank, Body, stamp

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Look:
    """How one slide is stained and how its tumour grows.

    `haematoxylin` and `eosin` scale the stains, the hues move their vectors between the two of the literature (0-1) or
    beyond them; `cell` is the size of tumour cells and their nuclei, `clear` the share of stain missing from their
    cytoplasm, `lumens` the share of tumour that forms glands; `inflamed`, `fibroblasts` and `soot` scale what lies
    scattered in stroma.

    The rest goes with the organ: the `nucleus` of tumour cells and their `spacing`, the width of their `nests`, of the
    `septa` between nests and of the `rim` of the tumour that no septum cuts, the wavelength of their `glands`; all µm.
    """

    haematoxylin: float = 1.0
    eosin: float = 1.0
    haematoxylin_hue: float = 0.5
    eosin_hue: float = 0.4
    cell: float = 1.0
    clear: float = 0.0
    lumens: float = 0.06
    inflamed: float = 1.0
    fibroblasts: float = 1.0
    soot: float = 1.0
    nucleus: Body = TUMOUR
    spacing: float = 14.2
    nests: float = 135.0
    septa: float = 3.6
    rim: float = 5.0
    glands: float = 62.0


class Canvas:
    """Layers of optical density of one slide, float32 (h, w), and the random stream that all of it draws from.

    Attributes
    ----------
    h, e, red : haematoxylin and eosin of the ground, and red cells
    nuclear, cover : haematoxylin of nuclei, and where they lie (0-1)
    kinds : uint8 (h, w), `Kind` of each pixel
    depth : distance to the edge of the tissue, µm, positive inside
    outline : distance to the outline of the tumour, µm, positive inside
    fibre, fibre_angle : collagen as noise of unit deviation, and its direction in radians
    """

    def __init__(
        self, rng: np.random.Generator, layout: Layout, shape: tuple[int, int], mpp: float, look: Look
    ) -> None:
        self.rng, self.layout, self.shape, self.mpp, self.look = rng, layout, shape, mpp, look
        self.h, self.e, self.red, self.nuclear, self.cover, self.scratch = (
            np.zeros(shape, np.float32) for _ in range(6)
        )
        self.outline = enlarge(inside_distance(layout.tumour) * LAYOUT_MPP, shape)
        self.kinds = self._kinds()
        self.depth = self.inside(self.kinds != Kind.GLASS)
        self.fibre, self.fibre_angle = self._fibres()

    def noise(self, wavelength_um: float) -> Field:
        """Unit noise over the whole slide."""
        return smooth_noise(self.rng, self.shape, wavelength_um / self.mpp)

    def where(self, kind: Kind) -> Mask:
        """Pixels of one kind."""
        return np.asarray(self.kinds == kind)

    def inside(self, mask: Mask) -> Field:
        """Distance in µm to the border of `mask`, positive inside."""
        return np.asarray(inside_distance(mask) * self.mpp, np.float32)

    def far_from(self, y: float, x: float) -> Field:
        """Distance in µm from a point in µm."""
        rows, columns = (np.arange(side, dtype=np.float32) * self.mpp for side in self.shape)
        return np.asarray(np.sqrt((rows - y)[:, None] ** 2 + (columns - x)[None] ** 2), np.float32)

    def edge(self, depth_um: NDArray[np.floating]) -> Field:
        """Coverage 0-1 of what lies at positive depth, with an edge of one pixel."""
        return np.asarray(np.clip(depth_um / self.mpp + 0.5, 0, 1), np.float32)

    def fill(self, where: Mask, h: NDArray[np.floating] | float, e: NDArray[np.floating] | float) -> None:
        """Set the stain of the ground under nuclei."""
        for layer, value in ((self.h, h), (self.e, e)):
            np.copyto(layer, np.asarray(value, np.float32), where=where)

    def wash(self, cover: Field) -> None:
        """Take the ground away where `cover` (0-1) is, leaving bare glass: clefts and lumens."""
        self.h *= 1 - cover
        self.e *= 1 - cover

    def scatter(
        self,
        where: Mask,
        body: Body,
        pitch_um: float,
        chance: Field | float = 1.0,
        angle: Field | None = None,
        jitter: float = 0.33,
        layer: Field | None = None,
    ) -> Field:
        """Stamp bodies on a jittered lattice inside `where`; return their places (n, 2) as (y, x) px.

        `chance` is the probability of each, `angle` their direction (any, if None), `layer` the stain they go to
        (nuclei, if None).
        """
        points = lattice(self.rng, self.shape, pitch_um / self.mpp, jitter)
        y, x = points.astype(np.int64).T
        likely = chance[y, x] if isinstance(chance, np.ndarray) else chance
        # No nucleus hangs over the cut edge of the tissue.
        kept = where[y, x] & (self.depth[y, x] > 2.5) & (self.rng.random(len(points)) < likely)
        points, y, x = points[kept], y[kept], x[kept]
        direction = self.rng.uniform(0, np.pi, len(points)) if angle is None else angle[y, x]
        turned = np.asarray(direction + self.rng.normal(0, 0.12, len(points)), np.float32)
        bank = Bank.of(self.rng, body, self.mpp)
        cover = self.cover if layer is None else self.scratch
        stamp(self.nuclear if layer is None else layer, cover, points, bank, bank.choose(self.rng, turned))
        return points

    def cells_of(self, points: Field) -> tuple[NDArray[np.int32], Mask]:
        """Which cell each pixel belongs to (nearest of `points`, counted from 1), and the borders between cells."""
        empty = np.ones(self.shape, np.uint8)
        y, x = points.astype(np.int64).T
        empty[y, x] = 0
        _, cells = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        border = np.zeros(self.shape, bool)
        border[:, 1:] |= cells[:, 1:] != cells[:, :-1]
        border[1:] |= cells[1:] != cells[:-1]
        return np.asarray(cells), border

    def tint(self, cells: NDArray[np.int32]) -> Field:
        """A normal deviate per cell."""
        return np.asarray(self.rng.standard_normal(int(cells.max()) + 1, dtype=np.float32)[cells])

    def _kinds(self) -> NDArray[np.uint8]:
        """The layout at full size, borders roughened, except that tumour keeps to its outline."""
        best, kinds = np.full(self.shape, -1.0, np.float32), np.zeros(self.shape, np.uint8)
        shift = [np.float32(1 / self.mpp) * (self.noise(34) * 4.5 + self.noise(11) * 1.8) for _ in range(2)]
        for kind in Kind:
            weight = cv2.GaussianBlur((self.layout.kinds == kind).astype(np.float32), (0, 0), 1.2)
            weight = warp(enlarge(weight, self.shape), shift[0], shift[1])
            kinds[weight > best] = kind
            np.maximum(best, weight, out=best)
        kinds[(kinds == Kind.TUMOUR) & (self.outline <= 0)] = Kind.STROMA
        kinds[self.outline > 0] = Kind.TUMOUR
        for y, x, radius in self.layout.punches:
            kinds[self.far_from(y, x) + self.noise(18) < radius] = Kind.GLASS
        return kinds

    def _fibres(self) -> tuple[Field, Field]:
        """Noise drawn out along a bent direction."""
        rows, columns = (side * np.float32(self.mpp) for side in np.indices(self.shape, np.float32))
        angle = self.rng.uniform(0, np.pi)
        across = columns * np.sin(angle) - rows * np.cos(angle) + 105 * self.noise(520) + 7 * self.noise(95)
        along = columns * np.cos(angle) + rows * np.sin(angle) + 60 * self.noise(600)
        bank = ndimage.gaussian_filter(self.rng.standard_normal((512, 512)), 1.0, mode="wrap")
        bank = (bank / bank.std()).astype(np.float32)
        fibre = np.zeros(self.shape, np.float32)
        for thick, weight in ((5.0, 0.75), (15.0, 0.65)):
            columns, rows = (np.mod(axis * (3.0 / thick), 512).astype(np.float32) for axis in (along * 0.13, across))
            fibre += weight * cv2.remap(bank, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        smooth = cv2.GaussianBlur(across.astype(np.float32), (0, 0), 3.0 / self.mpp)
        dy, dx = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
        return fibre, np.asarray(cv2.phase(dy, -dx), np.float32)
