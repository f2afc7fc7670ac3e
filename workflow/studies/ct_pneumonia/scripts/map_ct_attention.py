"""Map where one network sees evidence for cancer, and how its maps meet the annotated boxes."""

import pandas as pd

from drunet.console import job
from drunet.files import read_json, write_tsv
from studies.common.images.folder import read_list
from studies.ct_pneumonia.attention import choose_images, map_arm

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    options, boxes = params.options, read_list(inputs.boxes)
    asked = {"trial": params.trial, "positive": params.positive}
    counts = {key: options[key] for key in ("images", "coverage_images")}
    shown, covered = choose_images([pd.read_parquet(path) for path in inputs.answers], boxes, **asked, **counts)
    facts, answers = read_json(inputs.facts), pd.read_parquet(inputs.predictions)
    how = {**asked, "options": options, "layer": params.get("layer"), "layers": params.layers}
    maps, coverage = map_arm(facts, inputs.weights, inputs.images, boxes, shown, covered, answers, **how)
    maps.write(output.maps)
    write_tsv(coverage, output.coverage)
    write_tsv(shown, output.chosen)
