"""Write the provenance of a run as an RO-Crate."""

from itertools import repeat

import pandas as pd

from drunet.console import job
from drunet.export.ro_crate import write_crate
from drunet.files import read_json

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    table = pd.read_csv(inputs.table, sep="\t", dtype=str, keep_default_na=False)
    names = ("tissue.png", "heatmap.tif", "segmentation.png", "segmentation.tif", "refined.tif")
    files = zip(inputs.tissue, inputs.heatmap, inputs.small, inputs.mask, inputs.refined or repeat(""), strict=False)
    results = [{name: path for name, path in zip(names, each, strict=True) if path} for each in files]
    slides = {
        slide_id: {**read_json(digest), "mpp": mpp, "own_area": slide_id in params.own_area, "results": made}
        for (slide_id, mpp), digest, made in zip(params.mpp.items(), inputs.digests, results, strict=True)
    }
    refined_by = "refine_heatmap" if params.run["refiner"] else "cluster_heatmap" if inputs.refined else None
    cleaning = dict(params.settings["postprocess"])
    if cleaning["min_fragment_um2"] is None and inputs.refiner:
        # As found in the training slides, which are not here.
        cleaning["min_fragment_um2"] = read_json(inputs.refiner)["smallest_tumour_um2"]
    write_crate(
        snakemake.output.crate,
        run=snakemake.wildcards.run,
        workflow=inputs.workflow,
        settings={
            **params.settings,
            "postprocess": cleaning,
            "run": params.run,
            "models": params.models,
            "refined_by": refined_by,
        },
        models=dict(zip(params.models, inputs.models, strict=True)),
        slides=slides,
        left_out={r.slide_id: f"{r.status}: {r.reason}" for r in table.itertuples() if r.status != "ok"},
    )
