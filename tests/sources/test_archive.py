import zipfile
from pathlib import Path

import pytest

from salt.errors import InputError
from salt.sources.archive import LARGEST_MEMBER, FolderArchive, ZipArchive

Members = list[tuple[str, bytes]]


def write_zip(path: Path, members: Members, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo("member")
            entry.filename = name  # past the constructor, which cleans names
            entry.compress_type = method
            archive.writestr(entry, content)
    return path


def test_folder_and_zip_list_and_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "raw/images").mkdir(parents=True)
    (tmp_path / "raw/images/b.png").write_bytes(b"B")
    (tmp_path / "raw/images/a.png").write_bytes(b"A")
    zipped = write_zip(
        tmp_path / "raw.zip", [("images/", b""), ("images/b.png", b"B"), ("images/a.png", b"A")]
    )
    for archive in (FolderArchive(tmp_path / "raw"), ZipArchive(zipped)):
        assert archive.members() == ["images/a.png", "images/b.png"]
        assert archive.read("images/b.png") == b"B"
        archive.close()


def test_a_zip_without_files_lists_none(tmp_path: Path) -> None:
    assert ZipArchive(write_zip(tmp_path / "train.zip", [])).members() == []


@pytest.mark.parametrize("name", ["../x.png", "images/../../x.png", "/etc/x.png", "images/x\0.png"])
def test_names_that_lead_out_of_a_zip_are_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "train.zip", [(name, b"A")])
    with pytest.raises(InputError, match=r"train\.zip: holds .* leads out of the archive"):
        ZipArchive(path).members()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "train.zip", [("images/a.png", b"A"), ("images/a.png", b"B")])
    with pytest.raises(InputError, match=r"holds 'images/a\.png' twice"):
        ZipArchive(path).members()


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_zip_is_named(tmp_path: Path, damage: str) -> None:
    path = write_zip(tmp_path / "train.zip", [("images/a.png", b"A" * 1000)])
    path.write_bytes({"cut": path.read_bytes()[:-40], "text": b"<html>", "empty": b""}[damage])
    with pytest.raises(InputError, match=r"train\.zip: damaged or not a zip"):
        ZipArchive(path)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "train.zip", [("images/a.png", b"A" * 1000)])
    path.write_bytes(path.read_bytes().replace(b"AAAA", b"AABA", 1))
    with pytest.raises(InputError, match=r"train\.zip: images/a\.png: damaged in the zip"):
        ZipArchive(path).read("images/a.png")


def test_files_far_larger_than_a_tile_are_not_read(tmp_path: Path) -> None:
    content = bytes(LARGEST_MEMBER + 1)
    path = write_zip(tmp_path / "train.zip", [("a.png", content)], zipfile.ZIP_DEFLATED)
    (tmp_path / "a.png").write_bytes(content)
    for archive in (ZipArchive(path), FolderArchive(tmp_path)):
        with pytest.raises(InputError, match=r"a\.png: more than 4 MiB"):
            archive.read("a.png")


def test_a_file_gone_from_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(No such file"):
        FolderArchive(tmp_path).read("a.png")
