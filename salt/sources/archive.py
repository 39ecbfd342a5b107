"""One way to read files out of a folder or a zip, without unpacking.

Member names come from outside and are never joined to a path before they were checked:
a name is listed only if it stays inside its folder, and only listed names are read.
"""

import os
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from salt.errors import InputError

LARGEST_MEMBER = 4 * 2**20  # bytes; a 202x202 RGBA tile of 16 bits has 0.3 MiB uncompressed


class Archive(Protocol):
    """Files under one root; `path` is the folder or the zip itself."""

    path: Path

    def members(self) -> list[str]:
        """Return the names of all files, sorted, with `/` between folders.

        Raises:
            InputError: a name leads out of the archive, or occurs twice.
        """

    def read(self, member: str) -> bytes:
        """Return one file's bytes.

        Raises:
            InputError: it is damaged, unreadable or larger than `LARGEST_MEMBER`.
        """

    def where(self, member: str) -> str:
        """Return how messages name a member."""

    def close(self) -> None:
        """Let go of open files."""


class FolderArchive:
    """Files of a folder, at any depth."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[str]:
        return sorted(_files_below(str(self.path), ""))

    def read(self, member: str) -> bytes:
        try:
            with (self.path / member).open("rb") as handle:
                content = handle.read(LARGEST_MEMBER + 1)
        except OSError as error:
            raise InputError(
                f"{self.where(member)}: cannot be read ({error.strerror or error}); "
                "expected a readable file. Restore it or its permissions."
            ) from error
        _check_size(self.where(member), len(content))
        return content

    def where(self, member: str) -> str:
        return str(self.path / member)

    def close(self) -> None:
        pass


class ZipArchive:
    """Files of a zip.

    Raises:
        InputError: the file is no zip, or its directory is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory makes zipfile raise half a dozen types
            raise InputError(
                f"{path}: damaged or not a zip ({error}); expected Kaggle's file as downloaded. "
                "Download it again."
            ) from error

    def members(self) -> list[str]:
        # `filename` ends at a NUL, which would let two entries pass as one.
        entries = sorted(entry.orig_filename for entry in self._zip.infolist())
        names = [name for name in entries if not name.endswith("/")]
        outside = [name for name in names if _leads_out(name)]
        if outside:
            raise InputError(
                f"{self.path}: holds {outside[0][:80]!r}, which leads out of the archive; expected "
                "plain names such as images/000e218f21.png. Download the zip again."
            )
        repeated = [name for name, following in pairwise(names) if name == following]
        if repeated:
            raise InputError(
                f"{self.path}: holds {repeated[0]!r} twice; expected each file once. "
                "Download the zip again."
            )
        return names

    def read(self, member: str) -> bytes:
        _check_size(self.where(member), self._zip.getinfo(member).file_size)
        try:
            return self._zip.read(member)
        except Exception as error:  # zipfile, zlib, lzma ...: one type for each way to be damaged
            raise InputError(
                f"{self.where(member)}: damaged in the zip ({error}); expected Kaggle's file as "
                "downloaded. Download the zip again."
            ) from error

    def where(self, member: str) -> str:
        return f"{self.path}: {member}"

    def close(self) -> None:
        self._zip.close()


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\0" in name or ".." in name.split("/")


def _files_below(folder: str, prefix: str) -> list[str]:
    """Return the files under a folder, each name starting with `prefix`."""
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    names += _files_below(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file():
                    names.append(prefix + entry.name)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror or error}); expected a readable "
            "folder. Restore its permissions."
        ) from error
    return names


def _check_size(where: str, size: int) -> None:
    if size > LARGEST_MEMBER:
        raise InputError(
            f"{where}: more than {LARGEST_MEMBER // 2**20} MiB; expected the PNG of one tile, "
            "some 10 kB. Replace the file by the one Kaggle hands out."
        )
