"""List a folder of labelled images, and say which of them stem from one source."""

from drunet.console import job
from drunet.files import write_json
from studies.common.images.folder import find_files, list_images, write_list
from studies.common.images.groups import group_facts, read_groups
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.near_duplicates import agreement, find_groups
from studies.common.images.sources import in_order_of, read_sources, sourced_groups

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    root, known, sources = str(inputs.get("root") or params.root), inputs.get("groups"), inputs.get("sources")
    settings = NearDuplicates.of(params.near_duplicates, "near_duplicates")
    images, unreadable = list_images(
        root, params.classes, max_unreadable=params.max_unreadable, where=root, threads=snakemake.threads
    )
    facts = {"unreadable": len(unreadable)}
    if not sources and (not known or settings.compare):
        found, search = find_groups(images, root, settings, params.seed, threads=snakemake.threads)
    if sources:
        table = in_order_of(images, read_sources(sources))
        groups, told = sourced_groups(images, table["source"], root, settings, params.seed, threads=snakemake.threads)
        images = images.assign(part=table["part"])
        facts |= {"source": "sources", **told}
    elif known:
        groups = read_groups(str(known), images, str(known), others=find_files(root, root))
        facts |= {"source": "file", **group_facts(images.assign(group=groups))}
        if settings.compare:
            # What the search would have found: the file is the judge of its precision.
            facts["search"] = {**search, "agreement": agreement(found, groups)}
    else:
        groups = found
        facts |= {"source": "search", **search}
    write_list(output.images, images.assign(group=groups))
    write_list(output.unreadable, unreadable)
    write_json(output.facts, facts)
