"""Rules that several studies share, and the rules of every study that can be made."""


include: "images/inputs.smk"
include: "ct/inputs.smk"
include: "clustering/rules.smk"
include: "images/rules.smk"
include: "ct/rules.smk"


for known in STUDIES.values():
    if not known.problem:

        include: f"../{known.name}/rules.smk"

        forget_rule_folders()


# The target of a study that cannot be made says why; nothing else is kept from running.
for unavailable in [s for s in STUDIES.values() if s.problem]:

    for refused in study_settings.targets_of(unavailable.name):

        rule:
            name:
                refused
            input:
                refuse(unavailable),


rule studies:
    input:
        lambda wildcards: expand("<results>/studies/{study}/report.html", study=available_studies()),
