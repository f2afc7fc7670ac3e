"""Say whether a slide can be used, and keep its tissue mask and its annotation for all that follows."""

from drunet.annotation import outline
from drunet.annotation.parsed import write_parsed
from drunet.console import job
from drunet.export.outline import write_geojson
from drunet.files import write_json
from drunet.inspection import inspect
from drunet.outcome import write_outcome
from drunet.settings.tissue import TissueSettings
from drunet.tiles import write_mask

with job(snakemake.log[0]):
    slide_id, params, output = snakemake.wildcards.slide, snakemake.params, snakemake.output
    found = inspect(
        snakemake.input.slide,
        slide_id,
        mpp=params.mpp,
        tissue=TissueSettings.of(params.tissue, "tissue"),
        annotation=snakemake.input.get("annotation"),
        kind=params.kind,
        classes=params.classes,
        geojson_frame=params.geojson_frame,
        max_untangled=params.max_untangled,
        region=snakemake.input.get("region"),
        own_tissue=snakemake.input.get("own_tissue"),
    )
    if found.failure:
        write_outcome([output.tissue, output.outline, output.annotation], found.failure)
    else:
        facts, mask = found.report, found.tissue
        write_mask(output.tissue, mask)
        write_geojson(
            output.outline,
            outline(mask, facts["width"] / mask.shape[1], facts["height"] / mask.shape[0]).geoms,
            slide_id=slide_id,
            name="Tissue",
            colour=(120, 120, 120),
            mpp=facts["mpp"],
            counted_from=tuple(facts["geojson_origin"]),
            unread_mm2=facts["unread_mm2"],
        )
        size = facts["width"], facts["height"]
        write_parsed(output.annotation, found.annotation, found.provenance, slide_id=slide_id, size=size)
    write_json(output.status, found.report)
