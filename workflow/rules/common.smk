import gc
import re
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

SCRIPTS = Path(workflow.basedir) / "scripts"
WORKFLOW = Path(workflow.basedir) / "workflow"
RESOURCES = Path(workflow.basedir) / "resources"
# Nothing needs to be installed: rules and scripts find all packages by these two folders.
sys.path.insert(0, str(SCRIPTS))
sys.path.append(str(WORKFLOW))


def forget_rule_folders():
    """Take the folders that Snakemake includes from off the search path, as they may hold modules of one name."""
    sys.path[:] = [p for p in sys.path if p == str(WORKFLOW) or not Path(p).is_relative_to(WORKFLOW)]


forget_rule_folders()
# A plan is millions of objects that stay: to look through them for garbage takes a tenth of the time of planning.
gc.set_threshold(100_000, 20, 20)

from drunet import cohort, configuration
from drunet.errors import DrunetError, closest
from drunet.export import digests
from drunet.files import ID_PATTERN, check_writable
from drunet.fingerprint import fingerprint, remember_in
from drunet.models import registry
from drunet.settings import export, merging, references
from drunet.settings.cascade import CascadeSettings
from drunet.settings.measure import BOUNDS
from drunet.settings.regions import NextRegionsSettings


def checked_config():
    """The configuration, with models that are `like` others written out."""
    try:
        whole = (workflow.configfiles, WORKFLOW) if workflow.is_main_process else ()
        return configuration.checked(config, LISTED, *whole)
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def listed_models():
    """Models that can be fetched, by name."""
    try:
        return configuration.read_listed(config, RESOURCES / "models.yaml")
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def checked_cohort():
    """The sheet's rows."""
    try:
        rows = cohort.read_sheets(config["cohort"]["sheet"], config["cohort"]["root"])
        cohort.check_files(rows.values(), demo_files())
        return rows
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def demo_files():
    """Slides and annotations of the demo cohort, which the workflow makes itself."""
    return [f"{DEMO}/{s}{suffix}" for s in DEMO_SLIDES for suffix in (".tif", ".geojson")]


remember_in(Path(".snakemake/fingerprints.json"))
DEMO = "results/demo"
DEMO_SLIDES = list(cohort.read_sheets([str(p) for p in sorted((RESOURCES / "demo").glob("*.tsv"))], DEMO))
LISTED = listed_models()
OWN = checked_config()
RUNS = OWN["runs"]
config.update(OWN)
ROWS = checked_cohort()
# Slides that models learn from and that are left alone otherwise: what is beside the product may lend some.
LEARNING_ROWS = {}
ALL_ROWS = dict(ROWS)
RESULTS = config["results"]
ANNOTATED = [s for s, row in ROWS.items() if row.annotation]
# Sections that others add to the report's page, and pages that `all` makes beside it.
SECTIONS = []
PAGES = []
# What shows how far a run is, once it has begun.
SHOWN = []


onstart:
    from drunet_commands import progress

    try:
        check_writable(RESULTS)
    except DrunetError as error:
        raise WorkflowError(str(error)) from None
    # With its usual limit of jobs a second Snakemake looks for free jobs once more in every second for each job that
    # has ended: after a hundred jobs that fills a processor core. On one machine nothing needs the limit.
    limiter = workflow.scheduler.job_rate_limiter
    if workflow.local_exec and limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    settings = workflow.output_settings
    quiet = [kind.name for kind in settings.quiet or ()]
    names = [rule.name for rule in workflow.rules if rule.output]
    SHOWN.append(progress.start(RESULTS, workflow.dag, names, quiet, settings.verbose or settings.printshellcmds))


onsuccess:
    from drunet import outcome

    SHOWN[0].end("finished", outcome.left_out(RESULTS, RUNS))


onerror:
    SHOWN[0].end("failed")


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


wildcard_constraints:
    slide=ID_PATTERN,
    model=ID_PATTERN,
    encoder=ID_PATTERN,


def no_plan(message):
    """What an input function raises to end the start in one line.

    Snakemake passes over a WorkflowError there if the file that the rule would make exists, and ends well with whatever
    was made before.
    """
    logger.error(message)
    return SystemExit(1)


def row(wildcards):
    """The sheet's row of the slide in hand."""
    if wildcards.slide not in ALL_ROWS:
        raise WorkflowError(f"{wildcards.slide}: no such slide in the sheet {config['cohort']['sheet']}.")
    return ALL_ROWS[wildcards.slide]


def slide_file(wildcards):
    return row(wildcards).path


def annotation_file(wildcards):
    return row(wildcards).annotation or []


def own_digests(paths, digest=digests.content_digest):
    """Digests of a user's file or files, for `params`: one that is replaced by an older one is seen.

    Rules ask in a function of wildcards alone: Snakemake compares no parameter that is made from `input`.
    What the workflow makes itself goes by its date: it is not there yet when the rules are first read.
    """
    own = [Path(p).absolute() for p in ([paths] if isinstance(paths, str | Path) else paths)]
    own = [p for p in own if str(p) not in absolute_demo_files() and not p.is_relative_to(absolute_results())]
    try:
        return [digest(p) for p in own if p.is_file()]
    except OSError:
        # The job that reads it says so.
        return ["unreadable"]


@cache
def absolute_demo_files():
    return {str(Path(path).absolute()) for path in demo_files()}


@cache
def absolute_results():
    return Path(RESULTS).absolute()


def slide_mpp(wildcards):
    return row(wildcards).mpp


def annotation_kind(wildcards):
    return row(wildcards).annotation_kind


@cache
def code(script, *modules):
    """Digest of the code and templates that a script reaches: an edit reruns what depends on it, and no more.

    Rules ask for it in a function of their wildcards: every job's process reads all rules anew, and needs one digest.
    """
    return fingerprint(SCRIPTS / f"{script}.py", (SCRIPTS, WORKFLOW), modules)


def resource(rule_name, key, default):
    return config.get("resources", {}).get(rule_name, {}).get(key, default)


def exact_engine():
    """What computes networks that are not brought to int8: all but classifiers on the tiles of slides."""
    settings = config["inference"]
    precision = "float32" if settings["precision"] == "int8" else settings["precision"]
    return {"provider": settings["provider"], "precision": precision}


@cache
def usable_slides():
    """IDs of the slides with status ok, in the sheet's order; known once `list_slides` has run.

    Snakemake asks for it in every rule that gathers slides. What is not known yet ends in an exception, and is asked anew.
    """
    table = inspected_before() or checkpoints.list_slides.get().output.table
    listed = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    statuses = dict(zip(listed["slide_id"], listed["status"]))
    if inspected_before() and (missing := [s for s in ROWS if s not in statuses]):
        raise WorkflowError(
            f"{table}: {len(missing)} slides of the sheet are not in it (the first: {missing[0]}). A part by --batch is "
            "planned from this table: bring it up to date with the target `inspect`, without --batch."
        )
    return [s for s in ROWS if statuses.get(s) == "ok"]


def inspected_before():
    """The table of slides as it stands, where a part of the slides after inspection was asked for by `--batch`.

    Snakemake cuts a rule's input into parts before it resolves a checkpoint, so that there would be nothing to cut.
    """
    batch = workflow.dag_settings and workflow.dag_settings.batch
    table = Path(RESULTS) / "slides.tsv"
    if not batch or batch.rulename == "list_slides":
        return None
    if not table.is_file():
        raise WorkflowError(
            f"--batch {batch.rulename} needs {table}. Make it with the target `inspect`, without --batch."
        )
    return table


def for_usable(pattern, **wildcards):
    """An input function: `pattern` for every usable slide and, where given, for every value of other wildcards."""

    def paths(_):
        return expand(pattern, slide=usable_slides(), **wildcards)

    return paths


def asked_exports(files):
    """Files of the formats that the configuration asks for; `files`: format -> files."""
    return [
        file for name in export.ExportSettings.of(config["export"], "export").formats for file in files.get(name, [])
    ]


def segmenting_group(wildcards):
    """The job of a cluster that classifies a slide: its whole segmentation, or for slides that models learn from its own.

    A refiner learns from such a slide's heatmap before it refines it. In one job, that job would wait for itself.
    """
    return "classify_slide" if row(wildcards).split in ("train", "val") else "segment_slide"


def run_classifier_heatmap(wildcards):
    """The heatmap that a run begins with: its classifier's, or that of its cascade."""
    if config["runs"][wildcards.run].get("cascade"):
        return f"{RESULTS}/runs/{wildcards.run}/{wildcards.slide}/cascade.tif"
    return f"{RESULTS}/heatmaps/{config['runs'][wildcards.run]['classifier']}/{wildcards.slide}.tif"


def run_classified(wildcards):
    """The table of a slide's tiles as the run's classifier judged them; none for a cascade, which shows it only some.

    Whether its slides are like those that were learnt from cannot be told then.
    """
    run = config["runs"][wildcards.run]
    return [] if run.get("cascade") else f"{RESULTS}/heatmaps/{run['classifier']}/{wildcards.slide}.parquet"


def run_classifier(file):
    """A file of the run's classifier."""

    def path(wildcards):
        return f"{RESULTS}/models/{config['runs'][wildcards.run]['classifier']}/{file}"

    return path


def run_refiner(file):
    """A file of the run's refiner; none for a run that outlines the heatmap itself."""

    def path(wildcards):
        refiner = config["runs"][wildcards.run]["refiner"]
        return f"{RESULTS}/models/{refiner}/{file}" if refiner else []

    return path


def run_smallest_tumour(wildcards):
    """What says how small a tumour can be: the facts of the run's own refiner, or of the one that it names."""
    run = config["runs"][wildcards.run]
    refiner = run.get("smallest_tumour_of") or run["refiner"]
    return f"{RESULTS}/models/{refiner}/export.json" if refiner else []


def is_clustered(run):
    return config["runs"][run].get("clustering") is not None


def run_refined(wildcards):
    refined = f"{RESULTS}/runs/{wildcards.run}/{wildcards.slide}/refined.tif"
    return refined if config["runs"][wildcards.run]["refiner"] or is_clustered(wildcards.run) else []


def names_of_run(run):
    """The run's classifier, and its refiner if it has one."""
    return [config["runs"][run][part] for part in ("classifier", "refiner") if config["runs"][run][part]]


def run_models(wildcards):
    return [f"{RESULTS}/models/{model}/model.onnx" for model in names_of_run(wildcards.run)]


def for_each_slide(file):
    """An input function of a run: its file of every usable slide, by pattern or by an input function of slide and run."""

    def paths(wildcards):
        if isinstance(file, str):
            return expand(file, run=wildcards.run, slide=usable_slides())
        each = [file(SimpleNamespace(run=wildcards.run, slide=slide)) for slide in usable_slides()]
        return [path for path in each if path]

    return paths


def clustered_runs():
    """A pattern of the runs that are refined by clustering."""
    return "|".join(re.escape(run) for run in config["runs"] if is_clustered(run)) or "(?!)"


def open_slides():
    """Usable slides on which something may still be annotated to learn from: not outlined in full, kept for no test."""
    return [s for s in usable_slides() if ROWS[s].split in ("", "train") and ROWS[s].annotation_kind != "wta"]


def measured_slides():
    return [s for s in usable_slides() if ROWS[s].annotation]


def patient_numbers():
    """A number per patient, by slide: patients are distinguished, never named."""
    numbers = {p: i for i, p in enumerate(dict.fromkeys(r.patient_id for r in ROWS.values()), 1)}
    return {s: numbers[r.patient_id] for s, r in ROWS.items()}


def measured_rows(wildcards):
    """Slide, split and the number of its patient."""
    numbers = patient_numbers()
    return [{"slide": s, "split": ROWS[s].split, "patient": numbers[s]} for s in measured_slides()]


def needs_gpu():
    return 1 if config["inference"]["provider"] in ("cuda", "tensorrt") else 0
