#!/bin/bash
# Segment many slides in few Slurm jobs, each of which runs Snakemake on a share of them as a workstation does:
#   profiles/slurm/shares.sh 20 [arguments of Snakemake, such as --configfile FILE]
# Four steps wait for one another: slides are inspected, in shares; the models are made; slides are segmented, in shares;
# what is left, to which belongs what failed before. SHARE holds what a job asks of Slurm, TARGET what is made in the end.
set -eu
case ${1:-} in
"" | *[!0-9]* | 0 | 1)
    echo "shares.sh: say first in how many shares the slides are to be, two at least (found: ${1:-nothing})." >&2
    exit 1
    ;;
esac
shares=$1
shift
arguments=$(printf ' %q' "$@" --)
snakemake="snakemake --cores \$SLURM_CPUS_PER_TASK --nolock"
# The last share is left to the step that follows: Snakemake makes it only where it finds all others.
array="--array=1-$((shares - 1))"
share="DRUNET_SHARE=\$SLURM_ARRAY_TASK_ID/$shares; export DRUNET_SHARE; $snakemake --batch"
mkdir -p .snakemake/shares

# Submit a step that waits for the one before: its name, its command, more options of sbatch.
step() {
    # shellcheck disable=SC2086 # options, several in a variable
    before=$(sbatch --parsable ${SHARE:---cpus-per-task=4 --mem=16G --time=480} ${3:-} \
        ${before:+--dependency=afterany:$before} --job-name "$1" --output ".snakemake/shares/$1.%a.txt" --wrap "$2")
    before=${before%%;*}
    echo "job $before: $1"
}

step inspect "$share list_slides=\$DRUNET_SHARE$arguments inspect" "$array"
step models "$snakemake$arguments inspect models"
step segment "$share outlines=\$DRUNET_SHARE$arguments outlines" "$array"
step rest "$snakemake$arguments ${TARGET:-all}"
