"""Run one object of a pipeline on a slide with FAST itself, in a process of its own: it may hang or crash.

python run_fast.py pipeline.fpl slide object output.npz
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np


def main(pipeline: str, slide: str, name: str, output: str, magnification: str = "") -> None:
    """Write what the object gives, (h, w, channels); `read` reads a file of results instead, with its spacing.

    FAST does not read the resolution of a plain TIFF, and has to be told its magnification.
    """
    import fast  # type: ignore[import-not-found]

    fast.Reporter.setGlobalReportMethod(fast.Reporter.NONE)
    if name == "read":
        kind = fast.HDF5TensorImporter if slide.endswith(".hdf5") else fast.TIFFImagePyramidImporter
        found = kind.create(slide).runAndGetOutputData()
        if slide.endswith(".tiff"):
            spacing = np.asarray(found.getSpacing()).ravel()
            found = found.getAccess(fast.ACCESS_READ).getLevelAsImage(0)
            np.savez(output, data=np.asarray(found), spacing=spacing)
        else:
            np.savez(output, data=np.asarray(found))
        os._exit(0)
    given = fast.WholeSlideImageImporter.create(slide).runAndGetOutputData()
    if magnification:
        given.setMagnification(float(magnification))
    parsed = fast.Pipeline(str(Path(pipeline).resolve()))
    parsed.parse({"WSI": given}, {}, False)
    wanted = parsed.getProcessObject(name)
    if name == "stitcher":
        wanted = fast.RunUntilFinished.create().connect(wanted)
    np.savez(output, data=np.asarray(wanted.runAndGetOutputData()))
    # Its threads do not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
