"""One target per stage: `snakemake --cores N <target>` makes it for every usable slide."""


rule inspect:
    input:
        "<results>/slides.tsv",


rule tissue:
    input:
        for_usable("<results>/slides/{slide}/tissue.png"),


rule tiles:
    input:
        for_usable("<results>/slides/{slide}/tiles.parquet"),


rule models:
    input:
        expand("<results>/models/{model}/model.onnx", model=USED_MODELS),
        expand("<results>/models/{model}/card.md", model=USED_MODELS),


rule classify:
    input:
        for_usable("<results>/heatmaps/{model}/{slide}.parquet", model=WHOLE_CLASSIFIERS),
        for_usable("<results>/runs/{run}/{slide}/cascade.parquet", run=CASCADED),


rule heatmaps:
    input:
        for_usable("<results>/heatmaps/{model}/{slide}.tif", model=WHOLE_CLASSIFIERS),
        for_usable("<results>/runs/{run}/{slide}/cascade.tif", run=CASCADED),


rule outlines:
    input:
        for_usable("<results>/runs/{run}/{slide}/segmentation.geojson", run=RUNS),


rule segment:
    input:
        for_usable("<results>/runs/{run}/{slide}/segmentation.geojson", run=RUNS),
        expand("<results>/runs/{run}/slides.tsv", run=RUNS),


rule exports:
    input:
        for_usable("<results>/runs/{run}/{slide}/{file}", run=RUNS, file=asked_exports(SLIDE_EXPORTS)),
        expand("<results>/runs/{run}/{file}", run=RUNS, file=asked_exports(RUN_EXPORTS)),
        [f"<results>/models/{m}/calibrated.onnx" for m in USED_CLASSIFIERS if config["export"].get("calibrated", False)],


rule metrics:
    input:
        expand("<results>/runs/{run}/metrics.tsv", run=RUNS),
