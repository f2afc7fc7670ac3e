"""Make saliency maps of a classifier on true and false positive tiles."""

from drunet.console import job, say
from drunet.files import read_json, write_text
from drunet.outcome import without_failed
from drunet.report.figures import save
from drunet.training.device import need_gpu
from drunet.training.trained import rebuild
from studies.common.classifier_arms import classified_tiles
from studies.saliency.explanation import explain, explanation_metrics, read_tiles
from studies.saliency.tables import chosen_table, metrics_table, saliency_figure
from studies.saliency.tile_choice import choose_tiles, picked_tiles

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    settings, model_name = params.settings, snakemake.wildcards.model
    facts = read_json(inputs.facts)
    slides, (paths, tables, heatmaps) = without_failed(params.slides, inputs.slides, inputs.tiles, inputs.heatmaps)
    classified = classified_tiles([s["slide_id"] for s in slides], tables, heatmaps)
    if settings["tiles"]:
        chosen = picked_tiles(classified, settings["tiles"], params.threshold)
    else:
        wanted = {key: settings[key] for key in ("true_positives", "false_positives", "apart")}
        chosen = choose_tiles(classified, threshold=params.threshold, **wanted)
    sources = {s["slide_id"]: (path, s["mpp"]) for s, path in zip(slides, paths, strict=True)}
    images = read_tiles(chosen, sources, facts["size"], facts["mpp"])
    say(f"Explaining {model_name} on {len(chosen)} tiles")
    explanation = None
    if len(chosen):
        explanation = explain(
            rebuild(facts, inputs.weights),
            images,
            layers=settings["layers"].get(model_name),
            **{key: settings[key] for key in ("score", "baseline", "steps", "batch_size")},
        )
    rows = explanation.shown() if explanation else {}
    side = facts["size"] * facts["mpp"]
    save(saliency_figure(images, chosen, rows, side_um=side), output.figure, dpi=250)
    metrics = metrics_table(model_name, settings["split"], explanation_metrics(explanation, chosen))
    write_text(output.metrics, metrics.to_csv(sep="\t", index=False, na_rep="nan"))
    write_text(output.tiles, chosen_table(chosen).to_csv(sep="\t", index=False))
