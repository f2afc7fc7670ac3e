"""Turn a refined probability into a mask."""

from drunet.console import job
from drunet.export.mask_image import write_mask_image
from drunet.files import read_json
from drunet.outcome import late_failure
from drunet.postprocess import finest_mask, min_fragment_um2, read_probability, segment_slide
from drunet.settings.postprocess import PostprocessSettings
from drunet.tiles import read_mask, write_mask

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, settings = snakemake.input, PostprocessSettings.of(snakemake.params.postprocess, "postprocess")
    probability, grid = read_probability(inputs.heatmap, inputs.refined, settings.unrefined_px)
    known = read_json(inputs.refiner) if inputs.refiner else {}
    smallest = min_fragment_um2(settings.min_fragment_um2, known, grid)
    mask = segment_slide(probability, read_mask(inputs.tissue), grid, smallest, settings)
    # Enlarging rounds the mask's edge: exports are traced from the mask itself.
    write_mask(snakemake.output.small, mask)
    finest, resolution = finest_mask(mask, grid, settings.mpp)
    description = f"tumour of {slide_id}, 255 is tumour"
    write_mask_image(snakemake.output.mask, finest, resolution, description)
