"""Match CT slices with their tumour boxes, and turn them into grey PNG with neutral names."""

from drunet.console import job
from drunet.files import write_json
from studies.common.ct.window import Window
from studies.common.images.folder import write_list
from studies.ct_boxes.collecting import collect_slices

with job(snakemake.log[0]):
    output, params = snakemake.output, snakemake.params
    # Paths may name a patient: messages call them by their keys.
    where = "study_settings.ct_boxes.slices"
    table, matching = collect_slices(
        str(params.root),
        params.get("annotations"),
        output.folder,
        window=Window.of(params.window, f"{where}.window"),
        where=where,
        **{key: getattr(params, key) for key in ("subtypes", "at_most", "rule", "seed", "max_unreadable")},
    )
    write_list(output.slices, table)
    write_json(output.facts, matching)
