"""Write pipelines, models and a project of a run for FastPathology."""

from pathlib import Path

from drunet.console import job
from drunet.errors import ConfigError
from drunet.export.fastpathology import pipeline, write_model, write_project, write_results
from drunet.export.mask_image import read_mask_image
from drunet.files import read_json, write_text
from drunet.heatmap import read_heatmap
from drunet.inference import layout_of
from drunet.outcome import without_failed
from drunet.settings.tiles import TilesSettings

with job(snakemake.log[0]):
    inputs, params, run = snakemake.input, snakemake.params, snakemake.wildcards.run
    folder, name, notes = Path(snakemake.output.folder), f"drunet-{run}", ""
    roles = {"classifier": inputs.classifier}
    if read_json(inputs.facts).get("stain_normalisation"):
        what, mend = "the classifier sees normalised stains, which FAST cannot make", f"Take it out for the run {run}."
        raise ConfigError(what, where="export.formats", found="fastpathology", mend=mend)
    if inputs.refiner and read_json(inputs.refiner_facts)["mpp"] is None:
        roles["refiner"] = inputs.refiner
    elif params.refined:
        notes = "The run refines it in a way that FAST cannot follow; its outlines are in the project."
    tiles, told = TilesSettings.of(params.tiles, "tiles"), {"white_distance": params.white_distance, "notes": notes}
    models = {role: f"{name}-{role}.onnx" for role in roles}
    texts = {f"pipelines/{name}.fpl": ""} | {
        f"command_line/{name}-{kind}.fpl": kind for kind in ("heatmap", "segmentation")[: len(roles)]
    }
    for file, kind in texts.items():
        text = pipeline(inputs.template, name, models, tiles, layout_of(params.settings), exporting=kind, **told)
        write_text(folder / file, text)
    for role, model in roles.items():
        write_model(model, folder / "models" / models[role], f"{run}, {role}")
    project = folder / "projects" / name
    slides, (heatmaps, masks) = without_failed(params.slides, inputs.heatmaps, inputs.masks)
    for (slide, _), heatmap, mask in zip(slides, heatmaps, masks, strict=True):
        write_results(project / "results" / slide / name, *read_heatmap(heatmap), read_mask_image(mask))
    write_project(project, dict(slides))
