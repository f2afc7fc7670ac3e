"""List a folder of labelled images, and say which of them stem from one source."""

from drunet.console import job
from drunet.files import write_json
from studies.common.images.folder import find_files, list_images, write_list
from studies.common.images.groups import group_facts, in_order_of, read_groups, read_sources, sourced_groups
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.near_duplicates import find_groups

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    root, known, sources = str(inputs.get("root") or params.root), inputs.get("groups"), inputs.get("sources")
    images, unreadable = list_images(
        root, params.classes, max_unreadable=params.max_unreadable, where=root, threads=snakemake.threads
    )
    near = NearDuplicates.of(params.near_duplicates, "near_duplicates")
    search = {"settings": near, "seed": params.seed, "threads": snakemake.threads}
    if sources:
        table = in_order_of(images, read_sources(sources))
        groups, told = sourced_groups(images, table["source"], root, search)
        images, told = images.assign(part=table["part"]), {"source": "sources", **told}
    elif known:
        groups = read_groups(str(known), images, str(known), others=find_files(root, root))
        told = {"source": "file", **group_facts(images.assign(group=groups))}
    else:
        groups, told = find_groups(images, root, **search)
        told = {"source": "search", **told}
    write_list(output.images, images.assign(group=groups))
    write_list(output.unreadable, unreadable)
    write_json(output.facts, {"unreadable": len(unreadable), **told})
