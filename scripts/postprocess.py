"""Turn a refined probability into outlines, a mask and a picture."""

from drunet.annotation import read_annotation
from drunet.annotation.provenance import origin
from drunet.atomic import read_json
from drunet.console import job
from drunet.export.mask_image import write_mask
from drunet.export.outline import polygons, write_geojson
from drunet.heatmap import read_field, read_heatmap
from drunet.postprocess import finest_mask, min_fragment_um2, segment_slide, unrefined
from drunet.report.slide_pictures import write_pictures
from drunet.settings.postprocess import PostprocessSettings
from drunet.slide import Slide
from drunet.tiles import read_mask

with job(snakemake.log[0]), Slide(snakemake.input.slide, snakemake.wildcards.slide, snakemake.params.mpp) as slide:
    slide_id, settings = slide.slide_id, PostprocessSettings.of(snakemake.params.postprocess, "postprocess")
    counted_from = slide.properties.geojson_origin(snakemake.params.geojson_frame)
    heatmap, grid = read_heatmap(snakemake.input.heatmap)
    if snakemake.input.refined:
        probability, refiner = read_field(snakemake.input.refined)[0], read_json(snakemake.input.refiner)
    else:
        probability, refiner = unrefined(heatmap, grid, settings.unrefined_px), {}
    smallest = min_fragment_um2(settings.min_fragment_um2, refiner, grid)
    mask = segment_slide(probability, read_mask(snakemake.input.tissue), grid, smallest, settings)
    facts = read_field(snakemake.input.heatmap)[1]
    refined_by = {refiner["name"]: refiner["sha256"]} if refiner else {}
    write_geojson(
        snakemake.output.outline,
        polygons(mask, (grid.width, grid.height)),
        slide_id=slide_id,
        name="Tumor",
        colour=(200, 0, 0),
        mpp=grid.mpp,
        origin=origin(snakemake.wildcards.run, {facts["model"]: facts["model_sha256"], **refined_by}),
        counted_from=counted_from,
    )
    finest, resolution = finest_mask(mask, grid, settings.mpp)
    write_mask(snakemake.output.mask, finest, resolution, f"tumour of {slide_id}, 255 is tumour")
    truth = None
    if snakemake.params.kind:
        truth = read_annotation(
            snakemake.input.annotation,
            kind=snakemake.params.kind,
            where=slide_id,
            width=grid.width,
            height=grid.height,
            classes=snakemake.params.classes,
            origin=counted_from,
        )
    write_pictures(
        slide,
        mask,
        heatmap,
        grid,
        truth,
        longest=snakemake.params.overlay_px,
        heatmap_path=snakemake.output.heatmap,
        overlay_path=snakemake.output.overlay,
    )
