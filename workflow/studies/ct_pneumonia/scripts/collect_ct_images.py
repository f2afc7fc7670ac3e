"""Turn a user's CT images, DICOM or pictures, into grey PNG with neutral names."""

from drunet.console import job
from drunet.files import write_json
from studies.common.ct.window import Window
from studies.common.images.folder import write_list
from studies.ct_pneumonia.collecting import collect_images
from studies.ct_pneumonia.selection import ClassDraw

with job(snakemake.log[0]):
    output, params = snakemake.output, snakemake.params
    # Paths may name a patient: messages call them by their keys.
    where = "study_settings.ct_pneumonia.collect"
    draw = dict(params.get("draw") or {})
    draw["draw"] = {k: plan and ClassDraw.of(plan, f"{where}.draw.{k}") for k, plan in draw.get("draw", {}).items()}
    sources, boxes, unreadable, facts = collect_images(
        str(params.root),
        params.classes,
        output.folder,
        window=Window.of(params.window, f"{where}.window"),
        annotations=params.get("annotations"),
        sources=params.get("sources"),
        max_unreadable=params.max_unreadable,
        where=where,
        **draw,
    )
    write_list(output.sources, sources)
    write_list(output.boxes, boxes)
    write_list(output.unreadable, unreadable)
    write_json(output.facts, facts)
