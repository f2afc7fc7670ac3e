"""Show some of the images that stem from one source."""

from drunet.console import job
from drunet.report.figures import save
from studies.common.images.class_figures import group_montage
from studies.common.images.folder import read_list

with job(snakemake.log[0]):
    images = read_list(snakemake.input.images)
    save(group_montage(images, snakemake.params.root, images["group"]), snakemake.output.montage, dpi=220)
