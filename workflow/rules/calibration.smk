"""Whether probabilities keep their word: temperature scaling on validation slides, and models that hold it."""


rule calibrate_classifier:
    input:
        tiles=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=calibrating_slides()),
        classified=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=wildcards.model, slide=calibrating_slides()
        ),
    output:
        facts="<results>/models/{model}/calibration.json",
        picture="<results>/models/{model}/calibration.png",
    log:
        "<logs>/calibrate_classifier/{model}.log",
    benchmark:
        "<benchmarks>/calibrate_classifier/{model}.tsv"
    wildcard_constraints:
        model=pattern(config["classifiers"]),
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: [
            {"slide": s, "split": ROWS[s].split, "patient": patient_numbers()[s]} for s in calibrating_slides()
        ],
        seed=config["seed"],
        code=lambda wildcards: code("calibrate_classifier"),
    resources:
        mem_mb=resource("calibrate_classifier", "mem_mb", 2000),
        runtime=resource("calibrate_classifier", "runtime", 10),
    message:
        "Calibrating {wildcards.model}"
    script:
        "../../scripts/calibrate_classifier.py"


rule export_calibrated:
    input:
        model="<results>/models/{model}/model.onnx",
        calibration="<results>/models/{model}/calibration.json",
    output:
        model="<results>/models/{model}/calibrated.onnx",
    log:
        "<logs>/export_calibrated/{model}.log",
    benchmark:
        "<benchmarks>/export_calibrated/{model}.tsv"
    wildcard_constraints:
        model=pattern(config["classifiers"]),
    conda:
        "../../envs/infer.yaml"
    params:
        seed=config["seed"],
        code=lambda wildcards: code("export_calibrated"),
    resources:
        mem_mb=resource("export_calibrated", "mem_mb", 3000),
        runtime=resource("export_calibrated", "runtime", 10),
    message:
        "Writing {wildcards.model} with its temperature inside"
    script:
        "../../scripts/export_calibrated.py"
