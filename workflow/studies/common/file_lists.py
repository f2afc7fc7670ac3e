"""Lists of a rule's input files."""

from collections.abc import Iterable, Sequence


def by_name(files: Sequence[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Files by name, as many of each, from a list in the order of `expand("{name}/{slide}", …)`: first name first.

    >>> by_name(["a/1", "a/2", "b/1", "b/2"], ["a", "b"])
    {'a': ['a/1', 'a/2'], 'b': ['b/1', 'b/2']}
    """
    wanted = list(names)
    each, rest = divmod(len(files), max(1, len(wanted)))
    if rest or (files and not wanted):
        raise ValueError(f"{len(files)} files are not as many of each of {len(wanted)} names")
    return {name: list(files[i * each : (i + 1) * each]) for i, name in enumerate(wanted)}
