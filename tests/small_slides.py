"""Tiny slides, made in code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from drunet_demo.pyramid import write_pyramid

REAL_SLIDES = Path(__file__).parents[1] / ".." / "shared" / "data" / "slides"


@pytest.fixture
def colours() -> Callable[..., NDArray[np.uint8]]:
    """An RGB image of soft blots that fill the whole range of grey levels."""

    def make(height: int, width: int, seed: int = 0, softness: float = 6.0) -> NDArray[np.uint8]:
        noise = np.random.default_rng(seed).normal(size=(height, width, 3))
        soft = cv2.GaussianBlur(noise, (0, 0), softness).reshape(height, width, 3)
        return (255 * (soft - soft.min()) / np.ptp(soft)).astype(np.uint8)

    return make


@pytest.fixture
def jpeg_slide(tmp_path: Path) -> Callable[..., Path]:
    """Write an image as a pyramidal JPEG TIFF and give its path."""

    def make(image: NDArray[np.uint8], mpp: float | None, name: str = "slide.tif", **options: object) -> Path:
        write_pyramid(tmp_path / name, image, mpp, **options)  # type: ignore[arg-type]
        return tmp_path / name

    return make


@pytest.fixture
def lossless_slide(tmp_path: Path) -> Callable[..., Path]:
    """Write an image as a tiled TIFF without loss, its levels halved by area, and give its path."""

    def make(
        image: NDArray[np.uint8],
        mpp: float | tuple[float, float] = 0.25,
        levels: int = 1,
        name: str = "lossless.tif",
    ) -> Path:
        both = mpp if isinstance(mpp, tuple) else (mpp, mpp)
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            for index in range(levels):
                size = (image.shape[1] // 2**index, image.shape[0] // 2**index)
                tiff.write(
                    cv2.resize(image, size, interpolation=cv2.INTER_AREA) if index else image,
                    tile=(128, 128),
                    photometric="rgb",
                    compression="deflate",
                    subfiletype=int(index > 0),
                    resolution=tuple(10_000 / (m * 2**index) for m in both),
                    resolutionunit="CENTIMETER",
                    metadata=None,
                    software=False,
                )
        return tmp_path / name

    return make


@pytest.fixture
def real_slide() -> Callable[[str], Path]:
    """Find a real slide beside the project, or skip."""

    def find(name: str) -> Path:
        if not (REAL_SLIDES / name).is_file():
            pytest.skip(f"the real slide {name} is not here")
        return REAL_SLIDES / name

    return find
