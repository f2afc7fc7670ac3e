"""Formats for other programs and for the eye: each a rule of its own, and none that another rule waits for."""

# Files of each format in `export.formats`: of a slide and run, and of a run as a whole. A new format is a rule here or
# in a file beside this one, its files here and its name in the settings; nothing that comes before runs again.
SLIDE_EXPORTS = {
    "geojson": ["segmentation.geojson"],
    "geojson_gz": ["segmentation.geojson.gz"],
    "qupath_tiles": ["tiles.geojson.gz"],
    "pictures": ["overlay.jpg", "heatmap.jpg"],
    "ome_tiff": ["segmentation.ome.tif", "probability.ome.tif"],
    "dicom_seg": ["segmentation.dcm"],
    "bound": ["bound.geojson"],
    "bound_false": ["bound_false.geojson"],
}
RUN_EXPORTS = {
    "ro_crate": ["ro-crate.zip"],
    "model_card": ["model_card.md"],
    "qupath": ["qupath/project.qpproj"],
    "fastpathology": ["fastpathology"],
}


rule export_geojson:
    input:
        status="<results>/slides/{slide}/status.json",
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        refiner=run_refiner("export.json"),
        mask="<results>/runs/{run}/{slide}/segmentation.png",
        spread=asked_uncertainty,
    output:
        outline="<results>/runs/{run}/{slide}/segmentation.geojson",
    log:
        "<logs>/export_geojson/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_geojson/{run}/{slide}.tsv"
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        parent=config["export"].get("parent", False),
        code=lambda wildcards: code("export_geojson"),
    resources:
        mem_mb=resource("export_geojson", "mem_mb", 2000),
        runtime=resource("export_geojson", "runtime", 10),
    message:
        "Exporting the outlines of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_geojson.py"


rule export_geojson_gz:
    input:
        outline="<results>/runs/{run}/{slide}/segmentation.geojson",
    output:
        outline="<results>/runs/{run}/{slide}/segmentation.geojson.gz",
    log:
        "<logs>/export_geojson_gz/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_geojson_gz/{run}/{slide}.tsv"
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("export_geojson_gz"),
    resources:
        mem_mb=resource("export_geojson_gz", "mem_mb", 1000),
        runtime=resource("export_geojson_gz", "runtime", 10),
    message:
        "Compressing the outlines of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_geojson_gz.py"


rule export_qupath_tiles:
    input:
        status="<results>/slides/{slide}/status.json",
        heatmap=run_classifier_heatmap,
        calibration=asked_calibration,
    output:
        tiles="<results>/runs/{run}/{slide}/tiles.geojson.gz",
    log:
        "<logs>/export_qupath_tiles/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_qupath_tiles/{run}/{slide}.tsv"
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("export_qupath_tiles"),
    resources:
        mem_mb=resource("export_qupath_tiles", "mem_mb", 2000),
        runtime=resource("export_qupath_tiles", "runtime", 10),
    message:
        "Exporting the heatmap of {wildcards.slide} in run {wildcards.run} as tiles for QuPath"
    script:
        "../../scripts/export_qupath_tiles.py"


rule export_qupath:
    input:
        script=str(RESOURCES / "viewers/import_run.groovy"),
        outlines=for_each_slide("<results>/runs/{run}/{slide}/segmentation.geojson"),
        statuses=for_usable("<results>/slides/{slide}/status.json"),
    output:
        project="<results>/runs/{run}/qupath/project.qpproj",
        script="<results>/runs/{run}/qupath/scripts/import_{run}.groovy",
    log:
        "<logs>/export_qupath/{run}.log",
    benchmark:
        "<benchmarks>/export_qupath/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: [[s, ROWS[s].path] for s in usable_slides()],
        code=lambda wildcards: code("export_qupath"),
    resources:
        mem_mb=resource("export_qupath", "mem_mb", 1000),
        runtime=resource("export_qupath", "runtime", 10),
    message:
        "Writing a QuPath project of run {wildcards.run}"
    script:
        "../../scripts/export_qupath.py"


rule export_fastpathology:
    input:
        template=str(RESOURCES / "viewers/pipeline.fpl.j2"),
        classifier=run_classifier("model.onnx"),
        facts=run_classifier("export.json"),
        refiner=run_refiner("model.onnx"),
        refiner_facts=run_refiner("export.json"),
        heatmaps=for_each_slide(run_classifier_heatmap),
        masks=for_each_slide("<results>/runs/{run}/{slide}/segmentation.tif"),
    output:
        folder=directory("<results>/runs/{run}/fastpathology"),
    log:
        "<logs>/export_fastpathology/{run}.log",
    benchmark:
        "<benchmarks>/export_fastpathology/{run}.tsv"
    conda:
        "../../envs/infer.yaml"
    params:
        slides=lambda wildcards: [[s, ROWS[s].path] for s in usable_slides()],
        tiles=config["tiles"],
        white_distance=config["tissue"]["white_distance"],
        settings=lambda wildcards: {
            k: v
            for k, v in settings_of(config["runs"][wildcards.run]["classifier"]).items()
            if k in ("channels_last", "scale", "tumour_index")
        },
        refined=lambda wildcards: bool(config["runs"][wildcards.run]["refiner"]) or is_clustered(wildcards.run),
        code=lambda wildcards: code("export_fastpathology"),
    resources:
        mem_mb=resource("export_fastpathology", "mem_mb", 4000),
        runtime=resource("export_fastpathology", "runtime", 60),
    message:
        "Writing pipelines and a project of run {wildcards.run} for FastPathology"
    script:
        "../../scripts/export_fastpathology.py"


rule draw_slide_pictures:
    input:
        slide=slide_file,
        annotation="<results>/slides/{slide}/annotation.parquet",
        heatmap=run_classifier_heatmap,
        mask="<results>/runs/{run}/{slide}/segmentation.png",
    output:
        overlay=report(
            "<results>/runs/{run}/{slide}/overlay.jpg",
            caption="../report/overlay.rst",
            category="Slides",
            labels={"slide": "{slide}", "run": "{run}", "picture": "segmentation"},
        ),
        heatmap=report(
            "<results>/runs/{run}/{slide}/heatmap.jpg",
            caption="../report/heatmap.rst",
            category="Slides",
            labels={"slide": "{slide}", "run": "{run}", "picture": "heatmap"},
        ),
    log:
        "<logs>/draw_slide_pictures/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/draw_slide_pictures/{run}/{slide}.tsv"
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        overlay_px=config["report"]["overlay_px"],
        code=lambda wildcards: code("draw_slide_pictures"),
    resources:
        mem_mb=resource("draw_slide_pictures", "mem_mb", 3000),
        runtime=resource("draw_slide_pictures", "runtime", 20),
    message:
        "Drawing {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/draw_slide_pictures.py"
