"""A run as a Provenance Run Crate 0.5: what went in, what was done with which versions, what came out.

Slides are named by their digests alone, so that neither a path nor a patient is in the crate, and `drunet replay` knows
them again.
"""

import base64
import hashlib
import io
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import drunet
from drunet.files import AnyPath, sha256, whole_file
from drunet.outcome import outcome_of, reason_of

_PROFILES = [*(f"ro/wfrun/{kind}/0.5" for kind in ("process", "workflow", "provenance"))]
_PROFILES += ["workflowhub/workflow-ro-crate/1.0"]
# Rules that make a slide's results: what each takes of those before, and what it makes.
STEPS = {
    "inspect_slide": ((), ("tissue.png",)),
    "classify_tiles": (("tissue.png",), ("heatmap.tif",)),
    "refine_heatmap": (("heatmap.tif",), ("refined.tif",)),
    "cluster_heatmap": (("heatmap.tif",), ("refined.tif",)),
    "postprocess": (("tissue.png", "heatmap.tif", "refined.tif"), ("segmentation.png", "segmentation.tif")),
}
_PACKAGES = ["numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openslide-bin", "scipy", "snakemake"]
CONFIG, SLIDES = "config.json", "slides.json"


def versions() -> dict[str, str]:
    """Version of what a result depends on, by name."""
    found = {d.name: d.version for d in distributions() if d.name in _PACKAGES}
    return {"python": sys.version.split()[0], "drunet": drunet.__version__, **dict(sorted(found.items()))}


def write_crate(
    path: AnyPath,
    *,
    run: str,
    workflow: AnyPath,
    settings: Mapping[str, Any],
    models: Mapping[str, str],
    slides: Mapping[str, Mapping[str, Any]],
    left_out: Mapping[str, str],
) -> None:
    """Write the crate of a run, a ZIP.

    `workflow` is the Snakefile; `settings` are what decides the results, without paths, and `refined_by`, a rule or
    None; `models` are ONNX files of the run's models by name, the classifier first. By ID, `slides` have sha256, mpp
    (where the sheet gives it), `results`, paths by the names of `STEPS`, and other facts; `left_out` has the reasons
    why others could not be used.
    """
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append("https://w3id.org/ro/terms/workflow-run/context")
    crate.name, crate.license = f"Tumour segmentation, run {run}", "As its slides and models."
    crate.description = f"{len(slides)} slides, segmented by drunet {drunet.__version__}; named by digests in {SLIDES}."

    def add(identifier: str, kind: str, name: str, **properties: Any) -> Any:
        return crate.add(ContextEntity(crate, identifier, {"@type": kind, "name": name, **properties}))

    def hold(place: str, source: str | Path | io.BytesIO) -> Any:
        digest = hashlib.sha256(source.getvalue()).hexdigest() if isinstance(source, io.BytesIO) else sha256(source)
        return crate.add_file(source, place, properties={"name": Path(place).name, "sha256": digest})

    def record(slide_id: str, step: str, takes: list[Any], makes: list[Any], **said: str) -> None:
        status = f"http://schema.org/{'Failed' if 'error' in said else 'Completed'}ActionStatus"
        if step not in tools:
            tools[step] = add(f"#{step}", "SoftwareApplication", step, softwareVersion=drunet.__version__)
            add(f"#{step}/step", "HowToStep", step, position=str(len(tools)), workExample=tools[step])
        done = {"instrument": tools[step], "object": takes, "result": makes, "actionStatus": status, **said}
        action = add(f"#{slide_id}/{step}", "CreateAction", f"{step} of {slide_id}", **done)
        place = crate.get(f"#{step}/step")
        controls.append(add(f"{action.id}/control", "ControlAction", "its start", instrument=place, object=action))

    scans, masks, controls, tools = list[Any](), list[Any](), list[Any](), dict[str, Any]()
    config = hold(CONFIG, io.BytesIO(json.dumps(settings, indent=2).encode()))
    stated = {slide_id: {k: v for k, v in s.items() if k != "results"} for slide_id, s in slides.items()}
    hold(SLIDES, io.BytesIO(json.dumps(stated, indent=2).encode()))
    networks = [hold(f"models/{name}/model.onnx", source) for name, source in models.items()]
    network = dict(zip(("classify_tiles", "refine_heatmap"), networks, strict=False))
    for slide_id, reason in left_out.items():
        record(slide_id, "inspect_slide", [config], [], error=reason)
    for slide_id, slide in slides.items():
        # Named by the digest, as in RFC 6920.
        digest = base64.urlsafe_b64encode(bytes.fromhex(slide["sha256"])).decode().rstrip("=")
        named = {"name": slide_id, "sha256": slide["sha256"]}
        scans.append(crate.add_file(f"ni:///sha-256;{digest}", properties=named))
        made: dict[str, Any] = {}
        for step in filter(None, ("inspect_slide", "classify_tiles", settings["refined_by"], "postprocess")):
            takes = [scans[-1], config, *filter(None, [network.get(step), *map(made.get, STEPS[step][0])])]
            paths = {name: Path(slide["results"][name]) for name in STEPS[step][1]}
            if failed := next(filter(None, map(outcome_of, paths.values())), None):
                record(slide_id, step, takes, [], error=f"{failed.status}: {reason_of(failed)}")
                break
            new = {name: hold(f"slides/{slide_id}/{name}", file) for name, file in paths.items()}
            ended = datetime.fromtimestamp(max(file.stat().st_mtime for file in paths.values()), UTC)
            record(slide_id, step, takes, list(new.values()), endTime=ended.isoformat(timespec="seconds"))
            made |= new
        masks += [made[name] for name in STEPS["postprocess"][1] if name in made]
    kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    main = crate.add_workflow(workflow, "Snakefile", properties={"@type": kinds}, main=True, lang="snakemake")
    software = [add(f"#{name}", "SoftwareApplication", name, softwareVersion=v) for name, v in versions().items()]
    main["softwareRequirements"], main["hasPart"] = software, list(tools.values())
    main["step"] = [crate.get(f"{tool.id}/step") for tool in tools.values()]
    given = {"slide": scans, "model": networks, "configuration": [config]}
    for use, several in (("input", given), ("output", {"segmentation": masks})):
        for name, entities in several.items():
            main.append_to(use, crate.add_formal_parameter(name, "File", properties={"workExample": entities}))
    whole = crate.add_action(main, "#run", [*scans, *networks, config], masks, {"name": f"run {run}"})
    planner = crate.get("#snakemake") or add("#snakemake", "SoftwareApplication", "snakemake")
    engine = {"instrument": planner, "object": controls, "result": whole}
    crate.root_dataset["mentions"] = [whole, add("#organised", "OrganizeAction", "starting of the steps", **engine)]
    crate.root_dataset["conformsTo"] = [add(f"https://w3id.org/{name}", "CreativeWork", name) for name in _PROFILES]
    with whole_file(path) as temporary:
        crate.write_zip(temporary)
