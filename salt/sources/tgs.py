"""Kaggle's TGS layout: three tables, and pictures in folders or zips that stay packed.

    train.csv              id,rle_mask        labelled tiles
    sample_submission.csv  id,rle_mask        test tiles, in the order a submission takes
    depths.csv             id,z               all tiles; a tile may be missing
    train.zip or train/    images/ID.png masks/ID.png
    test.zip or test/      images/ID.png
    geometry.csv           id,volume,inline,crossline,sample   only where positions are known

A mask may come as PNG, as run lengths, or as both, which then have to agree.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from salt import rle
from salt.errors import InputError
from salt.sources.pictures import Pictures, check_complete, has_pictures, open_pictures
from salt.sources.tables import numbers, read_table, whole_numbers
from salt.sources.tile_format import TileFormat, tile_format
from salt.store import TEST, TILE_SIZE, TRAIN

LABELS, SAMPLE, DEPTHS, GEOMETRY = (
    f"{name}.csv" for name in ("train", "sample_submission", "depths", "geometry")
)
POSITION = ("volume", "inline", "crossline", "sample")


@dataclass(frozen=True)
class KaggleSurvey:
    """An open data set: its tables are checked, its pictures are read on demand.

    Attributes:
        raw: the folder it was read from.
        tiles: id, split, depth (NaN where unknown) and, where known, `POSITION`; the labelled
            tiles first, sorted by id within their split.
        sample: id, rle_mask as in the sample submission.
        run_lengths: (line, text) of each labelled id; empty if train.csv has no masks.
        pictures: of each split.
        form: how pictures become tiles.
    """

    raw: Path
    tiles: pd.DataFrame
    sample: pd.DataFrame
    run_lengths: dict[str, tuple[int, str]]
    pictures: dict[str, Pictures]
    form: TileFormat

    @property
    def mask_origins(self) -> list[str]:
        """Where masks come from: `masks/*.png`, `train.csv` or both."""
        origins = {"masks/*.png": self.pictures[TRAIN].members["masks"], LABELS: self.run_lengths}
        return [name for name, masks in origins.items() if masks]

    def image(self, split: str, name: str) -> np.ndarray:
        """Return the image of a tile, uint8 [101, 101].

        Raises:
            InputError: the picture is damaged or of a wrong size.
        """
        pictures = self.pictures[split]
        return self.form.image(pictures.read("images", name), pictures.where("images", name))

    def label(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mask and ignored pixels of a labelled tile, both uint8 [101, 101] in {0, 1}.

        Raises:
            InputError: the mask is damaged, or picture and run lengths disagree.
        """
        pictures = self.pictures[TRAIN]
        drawn = pictures.members["masks"]
        if not drawn:
            mask = self._decoded(name)
            return mask, np.zeros_like(mask)
        where = pictures.where("masks", name)
        mask, ignore = self.form.mask(pictures.read("masks", name), where)
        if self.run_lengths:
            self._check_agreement(name, mask, ignore, where)
        return mask, ignore

    def _decoded(self, name: str) -> np.ndarray:
        line, text = self.run_lengths[name]
        try:
            return rle.decode(text, TILE_SIZE, TILE_SIZE)
        except InputError as error:
            raise InputError(f"{self.raw / LABELS} line {line}, id {name}: {error}") from None

    def _check_agreement(self, name: str, mask: np.ndarray, ignore: np.ndarray, where: str) -> None:
        different = np.count_nonzero((mask != self._decoded(name)) & (ignore == 0))
        if different:
            raise InputError(
                f"id {name}: {where} and {self.raw / LABELS} line {self.run_lengths[name][0]} "
                f"disagree in {different} pixels; expected the same mask. Correct one of them, "
                "or remove all masks or the column rle_mask to use the other alone."
            )


@contextmanager
def open_kaggle(raw: Path, form: str) -> Iterator[KaggleSurvey]:
    """Open a data set in Kaggle's layout; pictures can be read until the context ends.

    Raises:
        InputError: a file is missing, malformed, or does not fit the others.
    """
    _check_present(raw)
    labels = read_table(raw / LABELS, ("id",), optional=("rle_mask",))
    sample = read_table(raw / SAMPLE, ("id", "rle_mask"))
    tiles = _list_tiles(raw, labels["id"], sample["id"])
    with ExitStack() as opened:
        pictures = {
            split: opened.enter_context(open_pictures(raw, split)) for split in (TRAIN, TEST)
        }
        check_complete(pictures[TRAIN], labels["id"], raw / LABELS)
        check_complete(pictures[TEST], sample["id"], raw / SAMPLE)
        survey = KaggleSurvey(raw, tiles, sample, _run_lengths(labels), pictures, tile_format(form))
        _check_labelled(survey)
        yield survey


def _check_present(raw: Path) -> None:
    missing = [name for name in (LABELS, SAMPLE, DEPTHS) if not (raw / name).is_file()]
    missing += [f"{split}.zip" for split in (TRAIN, TEST) if not has_pictures(raw, split)]
    if missing:
        got = f"has no {', '.join(missing)}" if raw.is_dir() else "no such folder"
        raise InputError(
            f"{raw}: {got}; expected Kaggle's train.csv, depths.csv, sample_submission.csv, "
            "train.zip and test.zip (or train/ and test/, each unpacked in a folder of its own). "
            "Download them from Kaggle's competition tgs-salt-identification-challenge into this "
            "folder, or point data.raw at them, or set data.source: demo."
        )


def _list_tiles(raw: Path, labelled: pd.Series, unlabelled: pd.Series) -> pd.DataFrame:
    """Return id, split, depth and position of all tiles in the store's order."""
    in_both = unlabelled[unlabelled.isin(labelled)]
    if len(in_both):
        raise InputError(
            f"{raw / SAMPLE} line {in_both.index[0]}: id {in_both.iloc[0]!r} is in {LABELS} too; "
            "expected a tile to be for training or for testing. Remove it from one of them."
        )
    ids = [*sorted(labelled), *sorted(unlabelled)]
    tiles = pd.DataFrame({"id": ids, "split": [TRAIN] * len(labelled) + [TEST] * len(unlabelled)})
    tiles["depth"] = tiles["id"].map(_read_depths(raw / DEPTHS)).astype(np.float64)
    if (raw / GEOMETRY).is_file():
        tiles = tiles.join(_read_geometry(raw / GEOMETRY, tiles["id"]), on="id")
    return tiles


def _read_depths(path: Path) -> pd.Series:
    table = read_table(path, ("id", "z"))
    return pd.Series(numbers(path, table["z"]), index=table["id"])


def _read_geometry(path: Path, ids: pd.Series) -> pd.DataFrame:
    table = read_table(path, ("id", *POSITION))
    missing = ids[~ids.isin(table["id"])]
    if len(missing):
        raise InputError(
            f"{path}: no row for {len(missing)} of {len(ids)} tiles, the first "
            f"{missing.iloc[0]!r}; expected a position for each. Add the rows, or remove the file."
        )
    positions = {name: whole_numbers(path, table[name]) for name in POSITION}
    return pd.DataFrame(positions, index=table["id"])


def _run_lengths(labels: pd.DataFrame) -> dict[str, tuple[int, str]]:
    if "rle_mask" not in labels:
        return {}
    lines = zip(labels.index, labels["rle_mask"], strict=True)
    return dict(zip(labels["id"], lines, strict=True))


def _check_labelled(survey: KaggleSurvey) -> None:
    if not survey.mask_origins:
        raise InputError(
            f"{survey.pictures[TRAIN].archive.path}: no masks/, and {survey.raw / LABELS} has no "
            "column 'rle_mask'; expected masks in one of them. Take Kaggle's file again."
        )
