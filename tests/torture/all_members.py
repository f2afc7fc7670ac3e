"""The whole corpus."""

from collections import Counter

from torture import claims, drawings, inside, lost, nets, tables, tags
from torture.corpus import Member

ALL: list[Member] = [
    *lost.lost_tiles(), *lost.lost_borders(), *tags.odd(), *inside.members_inside(), *claims.names(), *tags.levels(),
    *claims.resolution(), *drawings.members_of_drawings(), *nets.members_of_nets(), *tables.members_of_tables(),
]  # fmt: skip
TWICE = [name for name, count in Counter(m.name for m in ALL).items() if count > 1]
