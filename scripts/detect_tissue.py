"""Find the tissue of a slide."""

import cv2

from drunet.annotation import outline
from drunet.atomic import whole_file
from drunet.console import job
from drunet.export.outline import write_geojson
from drunet.inspection import find_tissue
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide

with job(snakemake.log[0]):
    slide_id = snakemake.wildcards.slide
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        mask = find_tissue(slide, TissueSettings.of(snakemake.params.tissue, "tissue"))
        properties = slide.properties
    with whole_file(snakemake.output.mask) as temporary:
        cv2.imwrite(str(temporary), mask.astype("uint8") * 255)
    shape = outline(mask, properties.width / mask.shape[1], properties.height / mask.shape[0])
    write_geojson(
        snakemake.output.outline,
        shape.geoms,
        slide_id=slide_id,
        name="Tissue",
        colour=(120, 120, 120),
        mpp=properties.mpp,
        counted_from=properties.geojson_origin(snakemake.params.geojson_frame),
    )
