"""The PNGs of one split in Kaggle's layout: `images/ID.png`, and `masks/ID.png` for training.

They lie in a folder named after the split or in a zip of that name, with or without a
further folder of that name inside; a folder is taken before a zip.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from salt.errors import InputError
from salt.sources.archive import Archive, FolderArchive, ZipArchive
from salt.sources.tables import is_plain_id

KINDS = ("images", "masks")


@dataclass(frozen=True)
class Pictures:
    """Where each picture of a split lies.

    Attributes:
        archive: the folder or zip that holds them.
        members: for each of `KINDS` the member of each id.
    """

    archive: Archive
    members: dict[str, dict[str, str]]

    def read(self, kind: str, name: str) -> bytes:
        """Return the PNG of a kind (`images`, `masks`) for an id."""
        return self.archive.read(self.members[kind][name])

    def where(self, kind: str, name: str) -> str:
        """Return how messages name that file."""
        return self.archive.where(self.members[kind][name])


def has_pictures(raw: Path, split: str) -> bool:
    """Tell whether there is a folder or a zip for the split."""
    return (raw / split).is_dir() or (raw / f"{split}.zip").is_file()


@contextmanager
def open_pictures(raw: Path, split: str) -> Iterator[Pictures]:
    """List the pictures of a split (`train`, `test`); reading works until the context ends.

    Raises:
        InputError: the zip is damaged, or a file has no plain id or occurs twice.
    """
    folder, zipped = raw / split, raw / f"{split}.zip"
    use_folder = folder.is_dir() and (any(folder.iterdir()) or not zipped.is_file())
    archive: Archive = FolderArchive(folder) if use_folder else ZipArchive(zipped)
    with closing(archive):
        yield Pictures(archive, _list_pictures(archive, split))


def check_complete(pictures: Pictures, ids: Iterable[str], table: Path) -> None:
    """Require one image for each id of the table and no other, and a mask for all or none.

    Raises:
        InputError: pictures are missing or left over; the message names the first.
    """
    wanted = set(ids)
    images, masks = (pictures.members[kind].keys() for kind in KINDS)
    path = pictures.archive.path
    if not wanted <= images:
        raise _unmatched(path, len(images), "images", wanted, images, f"ids of {table}")
    if not masks <= images:
        first = min(masks - images)
        raise InputError(
            f"{pictures.where('masks', first)}: a mask without an image; expected "
            f"images/{first}.png beside it. Add the image or remove the mask."
        )
    if not images <= wanted:
        first = min(images - wanted)
        raise InputError(
            f"{path}: {len(images)} images for {len(wanted)} ids of {table}, which lacks "
            f"{first!r}; expected a row for each image. Take images and table of one data set."
        )
    if masks and not wanted <= masks:
        raise _unmatched(path, len(masks), "masks", wanted, masks, "images")


def _unmatched(
    path: Path, count: int, kind: str, wanted: set[str], found: Iterable[str], what: str
) -> InputError:
    missing = wanted.difference(found)
    return InputError(
        f"{path}: {count} {kind} for {len(wanted)} {what}; {len(missing)} missing, the first "
        f"{kind}/{min(missing)}.png; expected one for each. Download or unpack {path.name} again."
    )


def _list_pictures(archive: Archive, split: str) -> dict[str, dict[str, str]]:
    """Return the member of each kind and id; what lies elsewhere (`__MACOSX/`) is not looked at."""
    members: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for member in archive.members():
        *folders, file = member.split("/")
        if folders[:1] == [split]:
            folders = folders[1:]
        if len(folders) != 1 or folders[0] not in KINDS or file.startswith("."):
            continue
        kind, name = folders[0], file.removesuffix(".png")
        if name == file or not is_plain_id(name):
            raise InputError(
                f"{archive.where(member)!r}: not the name of a tile; expected {kind}/ID.png with "
                "an ID of 1 to 64 letters, digits, _ or -. Rename or remove the file."
            )
        if name in members[kind]:
            raise InputError(
                f"{archive.where(member)}: the same tile as {archive.where(members[kind][name])}; "
                "expected each once. Remove one of them."
            )
        members[kind][name] = member
    return members
