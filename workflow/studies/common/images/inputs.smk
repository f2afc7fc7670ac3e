"""What the rules of studies on folders of images need to know of them."""

from studies.common.images import tasks as image_tasks
from studies.common.images.content import content_state
from studies.common.images.job_settings import starting_files

IMAGE_STUDIES = {name: s.settings for name, s in STUDIES.items() if not s.problem and "images" in s.settings}
# Class-named folders that the workflow draws itself, for studies that are given no images.
DRAWN_PATCHES = f"{DEMO}/patches"
# Templates that the pages of these studies share.
IMAGE_PARTIALS = sorted(str(path) for path in (STUDIES_FOLDER / "common/images").glob("*.md.j2"))
PATCH_SET = merging.read_yaml(STUDIES_FOLDER / "common/drawing/patches.yaml")


def of_image_studies(names):
    """A pattern of what the tasks of all these studies have by `names`; nothing, where there is none."""
    found = {
        re.escape(name)
        for settings in IMAGE_STUDIES.values()
        for task in image_tasks.tasks_of(settings)
        for name in names(settings, task)
    }
    return "|".join(sorted(found)) or "(?!)"


def image_study(wildcards):
    return IMAGE_STUDIES[wildcards.study]


def image_task(wildcards):
    return image_tasks.tasks_of(image_study(wildcards))[wildcards.task]


def image_trials(wildcards):
    """The task as the arm in hand has it."""
    return image_tasks.arm_task(image_study(wildcards), wildcards.task, wildcards.arm)


def image_lesson(wildcards):
    """How an arm learns from its teacher; nothing for an arm without one."""
    return image_study(wildcards)["distillation"] if image_arm(wildcards).get("teacher") else None


def external_classes(wildcards):
    """Classes of the first task, which a second folder has too."""
    return next(iter(image_tasks.tasks_of(image_study(wildcards)).values()))["classes"]


def external_content(wildcards):
    return content_state(image_study(wildcards)["images"]["external"], external_classes(wildcards))


def external_files(study, file):
    """A file of each network that is tested on a second folder; nothing where there is none."""
    return [f"{RESULTS}/studies/{study}/{key}/{file}" for key in image_tasks.external_keys(IMAGE_STUDIES[study])]


def external_facts(study):
    return collected(study, "external.json") if image_tasks.external_keys(IMAGE_STUDIES[study]) else []


def image_content(wildcards):
    """State of a user's images: one that is replaced in place is noticed too."""
    root = image_study(wildcards)["images"]["root"]
    return content_state(root, image_classes(wildcards)) if root else None


def image_arm(wildcards):
    return image_tasks.arm_settings(image_study(wildcards), wildcards.arm)


def image_classes(wildcards):
    return image_tasks.classes_of(image_study(wildcards))


def collected(study, file="collected"):
    """What a study has collected of a user's files: the folder of its images, or a table beside it."""
    return f"{RESULTS}/studies/{study}/{file}"


def image_root(wildcards):
    """The folder of images: what the settings name, what the study has collected, or the drawn set."""
    return image_study(wildcards)["images"]["root"] or made_images(wildcards.study)


def drawn_images(wildcards):
    """The folder of images where the workflow makes it."""
    return [] if image_study(wildcards)["images"]["root"] else made_images(wildcards.study)


def made_images(study):
    return collected(study) if "collect" in IMAGE_STUDIES[study] else DRAWN_PATCHES


def image_sources(wildcards):
    """Where each image comes from, for a study that has collected them."""
    return collected(wildcards.study, "sources.tsv") if "collect" in image_study(wildcards) else []


def file_facts(wildcards):
    """Facts of the files that images were collected from, for a model of those alone."""
    return image_sources(wildcards) if image_arm(wildcards)["classic"] == "file_statistics" else []


def image_view(wildcards):
    return image_tasks.arm_view(image_study(wildcards), wildcards.arm)


def image_groups(wildcards):
    return image_study(wildcards)["images"]["groups"] or []


def image_teacher(wildcards):
    teacher = image_arm(wildcards).get("teacher")
    return f"{RESULTS}/studies/{wildcards.study}/{wildcards.task}/{teacher}/onnx" if teacher else []


def image_weights(wildcards):
    return starting_files(image_arm(wildcards))


def image_arm_module(wildcards):
    return registry.module_of(image_arm(wildcards)["architecture"])


def arm_files(study, task, file, names=image_tasks.arms_of):
    """A file of every arm of a task, in the order of the arms."""
    return [f"{RESULTS}/studies/{study}/{task}/{arm}/{file}" for arm in names(IMAGE_STUDIES[study], task)]


def arm_keys(name, names=image_tasks.arms_of):
    """`task/arm` of all arms of a study."""
    settings = IMAGE_STUDIES[name]
    return [f"{task}/{arm}" for task in image_tasks.tasks_of(settings) for arm in names(settings, task)]


def of_arms(name, file, names=image_tasks.arms_of):
    """A file of every arm of every task of a study, in the order of `arm_keys`."""
    return [f"{RESULTS}/studies/{name}/{key}/{file}" for key in arm_keys(name, names)]
