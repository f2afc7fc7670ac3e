"""Write the probability and the mask of a slide as OME-TIFF."""

from drunet.console import job
from drunet.export.ome_tiff import write_mask, write_probability
from drunet.files import read_json
from drunet.outcome import late_failure
from drunet.postprocess import read_probability
from drunet.uncertainty.calibration import temperature_of, tempered

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, name = snakemake.input, f"{slide_id} {snakemake.wildcards.run}"
    probability, grid = read_probability(inputs.heatmap, inputs.refined, snakemake.params.unrefined_px)
    if inputs.calibration:
        probability = tempered(probability, temperature_of(read_json(inputs.calibration), snakemake.wildcards.run))
    write_mask(snakemake.output.mask, inputs.mask, grid, name)
    write_probability(snakemake.output.probability, probability, grid, name)
