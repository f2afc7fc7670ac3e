"""Draw where the networks see evidence for cancer: last layers, layers over the depth, averages."""

import pandas as pd

from drunet.console import job
from drunet.report.figures import save
from studies.ct_pneumonia import tables
from studies.ct_pneumonia.attention_maps import ArmMaps

with job(snakemake.log[0]):
    inputs, output = snakemake.input, snakemake.output
    maps = {label: ArmMaps.read(path) for label, path in zip(snakemake.params.labels, inputs.maps, strict=True)}
    shown = pd.read_csv(inputs.chosen, sep="\t", dtype={"file": str, "group": str})
    save(tables.last_maps_figure(maps, shown), output.last, dpi=250)
    save(tables.layers_figure(maps), output.layers, dpi=250)
    save(tables.averages_figure(maps), output.averages, dpi=250)
