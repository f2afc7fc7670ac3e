"""Write the outlines of a slide's tumour for QuPath."""

from functools import partial

from drunet.annotation.provenance import origin
from drunet.console import job
from drunet.export.outline import audited, polygons, probabilities, write_geojson
from drunet.files import read_json
from drunet.grid import Grid
from drunet.heatmap import read_field
from drunet.outcome import late_failure
from drunet.tiles import read_mask

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs = snakemake.input
    status, mask = read_json(inputs.status), read_mask(inputs.mask)
    heatmap, facts = read_field(inputs.heatmap)
    grid = Grid.from_dict(facts["grid"])
    models = {facts["model"]: facts["model_sha256"]}
    if inputs.refiner:
        refiner = read_json(inputs.refiner)
        models[refiner["name"]] = refiner["sha256"]
    # What the outlines were drawn from.
    smooth = grid.resample_to_slide(heatmap, mask.shape, smooth=True)
    field = read_field(inputs.refined)[0] if inputs.refined else smooth
    spread = grid.resample_to_slide(read_field(inputs.spread)[0], mask.shape) if inputs.spread else None
    write_geojson(
        snakemake.output.outline,
        polygons(mask, (grid.width, grid.height)),
        slide_id=slide_id,
        name="Tumor",
        colour=(200, 0, 0),
        mpp=grid.mpp,
        origin=origin(snakemake.wildcards.run, models),
        counted_from=tuple(status["geojson_origin"]),
        unread_mm2=status["unread_mm2"],
        measured=partial(probabilities, field, (grid.width, grid.height), spread=spread),
        parent=snakemake.params.parent,
        audit=audited(facts.get("cascade")),
    )
