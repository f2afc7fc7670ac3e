"""The files below a user's folder, called by number: their names may hold a patient's, so no message repeats one."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studies.common.errors import CtError
from studies.common.user_paths import is_folder, is_there

_PREAMBLE, _MAGIC = 128, b"DICM"


@dataclass(frozen=True)
class UserFiles:
    """All regular files below a folder in the byte-wise order of their paths, `names`, numbered from 1.

    Messages call the folder `where`, the configuration's key. Hidden files have a number too, as `find` lists them;
    links have none.
    """

    root: Path = field(repr=False)
    where: str
    names: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def visible(self) -> Iterator[int]:
        """Numbers of the files that are not hidden, nor lie in a hidden folder."""
        for number, name in enumerate(self.names, start=1):
            if not any(part.startswith(".") for part in name.split("/")):
                yield number

    def name(self, number: int) -> str:
        """Path below the root, for the program's own use: never to be shown or written."""
        return self.names[number - 1]

    def path(self, number: int) -> Path:
        """Path of a file, for the program's own use: never to be shown or written."""
        return self.root / self.names[number - 1]

    def label(self, number: int) -> str:
        """How messages call a file: `slices.root, file 17 of 53`."""
        return f"{self.where}, file {number} of {len(self)}"


def find_user_files(root: str | os.PathLike[str], where: str) -> UserFiles:
    """List the files below a folder, unread. Links are passed over: what they point to is found where it lies.

    Raises CtError if `root` is no folder, a folder cannot be entered, a link leads out of `root`, or a name holds a
    line break, which would make the numbering ambiguous.
    """
    home = Path(root)
    if not is_folder(home):
        found = "a file" if is_there(home) else None
        raise CtError("there is no such folder", where=where, found=found, mend="Name the folder that holds the files.")
    names = sorted(_below(home, "", home.resolve(), where), key=os.fsencode)
    if any("\n" in name for name in names):
        mend = "Rename it: files are called by their number in a list with one line for each."
        raise CtError("the name of a file holds a line break", where=where, mend=mend)
    return UserFiles(home, where, tuple(names))


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as DICOM files do (PS3.10, 7.1): told by content, for many have no suffix.

    A file that cannot be opened counts as one, so that reading it tells why.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return True


def check_unreadable(files: UserFiles, unreadable: Sequence[tuple[int, str]], count: int, limit: float) -> None:
    """Refuse a folder of whose `count` files a larger share than `limit` cannot be read (raises CtError).

    `unreadable` holds number and reason of each.
    """
    if len(unreadable) > limit * count:
        number, reason = unreadable[0]
        first = f"the first is file {number} of {len(files)}: {reason}"
        found = f"{len(unreadable)} of {count}, at most {limit:.2%} allowed; {first}"
        which = f"`find FOLDER/ -type f | LC_ALL=C sort | sed -n {number}p` shows which it is."
        mend = f"{which} Replace or remove it, or raise the limit `max_unreadable`."
        raise CtError("too many files cannot be read", where=files.where, found=found, mend=mend)


def _below(folder: Path, prefix: str, home: Path, where: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        what, mend = "a folder in it cannot be read", "Allow it to be read."
        raise CtError(what, where=where, found=error.strerror, mend=mend) from None
    for entry in entries:
        if entry.is_symlink():
            _check_link(Path(entry.path), home, where)
        elif entry.is_dir():
            yield from _below(Path(entry.path), f"{prefix}{entry.name}/", home, where)
        elif entry.is_file():
            # Neither a pipe nor a device, which opening could block.
            yield prefix + entry.name


def _check_link(link: Path, home: Path, where: str) -> None:
    try:
        inside = link.resolve().is_relative_to(home)
    except (OSError, RuntimeError):
        # A link that leads back to itself.
        inside = False
    if not inside:
        mend = "Put the files themselves there; `find FOLDER/ -type l` lists the links."
        raise CtError("a link leads out of the folder", where=where, mend=mend) from None
