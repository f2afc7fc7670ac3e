"""Configuration and sample sheet, checked, and what every rule file needs of them."""

import re
import sys
from pathlib import Path

import pandas as pd
import yaml
from snakemake.exceptions import WorkflowError

# The library needs no installation: scripts find it beside themselves, and so does the workflow.
SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from drunet import cohort, configuration
from drunet.errors import DrunetError
from drunet.fingerprint import fingerprint
from drunet.models import registry


def checked_cohort():
    """Validate the configuration and read the sheet; a mistake ends in one message."""
    schema = Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"
    try:
        configuration.check_schema(config, yaml.safe_load(schema.read_text(encoding="utf-8")))
        studies = [p.stem for p in (Path(workflow.basedir) / "workflow/studies").glob("*.smk")]
        configuration.check_references(config, studies)
        configuration.check_model_files(config)
        for kind in ("classifiers", "refiners"):
            for name, settings in config[kind].items():
                if "architecture" in settings:
                    registry.module_of(settings["architecture"])
        rows = cohort.read_sheets(config["cohort"]["sheet"], config["cohort"]["root"])
        cohort.check_files(rows.values(), demo_files())
        return rows
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def demo_files():
    """Slides and annotations of the demo cohort, which the workflow makes itself."""
    return [f"{DEMO}/{s}{suffix}" for s in DEMO_SLIDES for suffix in (".tif", ".geojson")]


DEMO = "results/demo"
DEMO_SLIDES = list(cohort.read_sheets(str(Path(workflow.basedir) / "resources/demo/slides.tsv"), DEMO))
ROWS = checked_cohort()
RESULTS = config["results"]
ANNOTATED = [s for s, row in ROWS.items() if row.annotation]


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


wildcard_constraints:
    slide=cohort.ID_PATTERN,
    model=cohort.ID_PATTERN,
    run="|".join(map(re.escape, config["runs"])),


def row(wildcards):
    """The sheet's row of the slide in hand."""
    if wildcards.slide not in ROWS:
        raise WorkflowError(f"{wildcards.slide}: no such slide in the sheet {config['cohort']['sheet']}.")
    return ROWS[wildcards.slide]


def slide_file(wildcards):
    return row(wildcards).path


def annotation_file(wildcards):
    return row(wildcards).annotation or []


def slide_mpp(wildcards):
    return row(wildcards).mpp


def annotation_kind(wildcards):
    return row(wildcards).annotation_kind


def code(script, *modules):
    """Digest of the library code that a script reaches: editing a module reruns what depends on it, and no more."""
    return fingerprint(SCRIPTS / f"{script}.py", SCRIPTS, modules)


def resource(rule_name, key, default):
    return config.get("resources", {}).get(rule_name, {}).get(key, default)


def usable_slides():
    """IDs of the slides with status ok, in the sheet's order; known once `list_slides` has run."""
    table = pd.read_csv(checkpoints.list_slides.get().output.table, sep="\t", dtype=str, keep_default_na=False)
    ok = set(table.loc[table["status"] == "ok", "slide_id"])
    return [s for s in ROWS if s in ok]


def for_usable(pattern, **wildcards):
    """An input function: `pattern` for every usable slide and, where given, for every value of other wildcards."""

    def paths(_):
        return expand(pattern, slide=usable_slides(), **wildcards)

    return paths


def run_classifier_heatmap(wildcards):
    return f"{RESULTS}/heatmaps/{config['runs'][wildcards.run]['classifier']}/{wildcards.slide}.tif"


def run_refiner(file):
    """A file of the run's refiner; none for a run that outlines the heatmap itself."""

    def path(wildcards):
        refiner = config["runs"][wildcards.run]["refiner"]
        return f"{RESULTS}/models/{refiner}/{file}" if refiner else []

    return path


def run_refined(wildcards):
    refined = f"{RESULTS}/runs/{wildcards.run}/{wildcards.slide}/refined.tif"
    return refined if config["runs"][wildcards.run]["refiner"] else []


def measured_slides():
    return [s for s in usable_slides() if ROWS[s].annotation]


def measured_rows(wildcards):
    """Slide, split, kind of annotation and a number per patient: patients are told apart, never named."""
    patients = {p: i for i, p in enumerate(dict.fromkeys(r.patient_id for r in ROWS.values()))}
    rows = [(s, ROWS[s]) for s in measured_slides()]
    return [
        {"slide": s, "split": r.split, "kind": r.annotation_kind, "patient": patients[r.patient_id]} for s, r in rows
    ]
