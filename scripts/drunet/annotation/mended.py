"""What was passed over or mended while an annotation was read: counted, so that it is never done in silence."""

from collections import Counter
from dataclasses import dataclass, field

from drunet.errors import AnnotationError


class NoAreaError(AnnotationError):
    """Something without an area, such as a point, a line or a ruler; `kind` is what to count it as."""

    kind = "outline without an area"


@dataclass
class Mended:
    """Counts of what was passed over (by its kind) and of outlines untangled, with the share of each that is uncertain.

    `first` is the message for the first object passed over: what to say where nothing else was drawn.

    >>> mended = Mended(Counter(point=2), [0.004])
    >>> print(mended)
    2 points passed over; 1 outline untangled, 0.4 %
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    untangled: list[float] = field(default_factory=list)
    first: AnnotationError | None = None

    def pass_over(self, found: NoAreaError) -> None:
        """Count what has no area."""
        self.passed_over[found.kind] += 1
        self.first = self.first or found

    def __str__(self) -> str:
        parts = [f"{_counted(count, kind)} passed over" for kind, count in self.passed_over.items()]
        if self.untangled:
            worst = max(self.untangled)
            share = "under 0.1 %" if worst < 0.001 else f"{worst:.1%}".replace("%", " %")
            most = "at most " if len(self.untangled) > 1 and worst >= 0.001 else ""
            parts.append(f"{_counted(len(self.untangled), 'outline')} untangled, {most}{share}")
        return "; ".join(parts)


def _counted(count: int, kind: str) -> str:
    if count == 1:
        return f"1 {kind}"
    first, space, rest = kind.partition(" ")
    return f"{count} {first}s{space}{rest}"
