"""The demo survey: synthetic 3-D blocks cut into tiles and written as Kaggle lays TGS out.

Kaggle's quirks are kept on purpose, so that the demo walks the same paths as the real data:
RGB train and grey test images, 8-bit empty and 16-bit other masks, ids without order.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from salt import rle
from salt.errors import InputError, ParameterError
from salt.files import write_array, write_csv
from salt.seeding import derive_seed, generator
from salt.store import TEST, TRAIN
from salt.synthesis.block import cut, draw_block

ROWS, COLUMNS = 2, 4  # tiles of one section
GEOMETRY = ["id", "volume", "inline", "crossline", "sample"]
SEABED_CHANCE = 0.2  # per block; about one TGS tile in fifteen shows water
VARIETY = 0.2  # one survey: its blocks are shot and processed nearly alike
SALT_16_BIT = 65535


def write_survey(
    folder: Path,
    truth: Path,
    *,
    seed: int,
    blocks: int,
    test_blocks: int,
    inlines: int,
    empty_share: float,
) -> None:
    """Model a survey and write it in Kaggle's layout, the test masks apart.

    Each block is a 3-D model of its own, cut along `inlines` neighbouring inlines into
    2 x 4 adjacent tiles. Whole blocks, picked by a seeded shuffle, are the test split. Equal
    arguments give equal bytes.

    Args:
        folder: receives train/images, train/masks, test/images, train.csv, depths.csv,
            sample_submission.csv and geometry.csv (id, volume, inline, crossline, sample:
            the tile's place, the last two counted in tiles). An earlier survey there is replaced.
        truth: receives masks.npy (uint8 [n_test, 101, 101]) and ids.csv in the same order.
        seed: root of every random stream.
        blocks: number of blocks; `test_blocks` of them are held out.
        test_blocks: number of blocks in the test split.
        inlines: sections per block.
        empty_share: share of tiles without salt that each split is steered to.

    Raises:
        ParameterError: no block would be left to train on, or to test on.
        InputError: `folder` holds something that is not a survey written here.
    """
    if not 0 < test_blocks < blocks:
        raise ParameterError(
            f"demo.test_blocks: got {test_blocks} of {blocks} blocks; "
            f"expected 1 to {blocks - 1}. Change demo.test_blocks or demo.blocks."
        )
    _refuse_foreign(folder)
    tiles, images, masks = _draw_tiles(seed, blocks, test_blocks, inlines, empty_share)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    _write_pictures(part, tiles, images, masks)
    _write_tables(part, tiles, masks, generator(seed, "demo", "sample order"))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    held_out = tiles["split"].eq(TEST).to_numpy()
    write_array(truth / "masks.npy", masks[held_out])
    write_csv(truth / "ids.csv", tiles.loc[held_out, ["id"]])


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / "geometry.csv").exists():
        raise InputError(
            f"{folder}: holds files, but no demo survey; expected an empty or new folder. "
            "Move the files away, or name another folder."
        )


def _draw_tiles(
    seed: int, blocks: int, test_blocks: int, inlines: int, empty_share: float
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return all tiles sorted by id: their table, images and masks uint8 [n, 101, 101]."""
    order = generator(seed, "demo", "test blocks").permutation(blocks)
    tables, images, masks = [], [], []
    with tqdm(total=blocks, desc="demo survey", unit="block", mininterval=1.0) as progress:
        for split, volumes in (
            (TRAIN, order[: blocks - test_blocks]),
            (TEST, order[blocks - test_blocks :]),
        ):
            steering = _Steering(empty_share, inlines, generator(seed, "demo", "share", split))
            for count, volume in enumerate(sorted(volumes.tolist())):
                block = draw_block(
                    derive_seed(seed, "demo", "block", volume),
                    inlines=inlines,
                    rows=ROWS,
                    columns=COLUMNS,
                    empty_tiles=steering.target(is_last=count == len(volumes) - 1),
                    tolerance=inlines - 1,
                    seabed_chance=SEABED_CHANCE,
                    variety=VARIETY,
                )
                steering.record(cut(block.masks))
                tables.append(_locate(seed, volume, inlines, split))
                images.append(cut(block.images).reshape(-1, *cut(block.images).shape[-2:]))
                masks.append(cut(block.masks).reshape(-1, *cut(block.masks).shape[-2:]))
                progress.update()
    tiles = pd.concat(tables, ignore_index=True).sort_values("id")
    rows = tiles.index.to_numpy()
    return tiles.reset_index(drop=True), np.concatenate(images)[rows], np.concatenate(masks)[rows]


class _Steering:
    """Keeps the share of empty tiles on course while single blocks differ."""

    def __init__(self, share: float, inlines: int, rng: np.random.Generator) -> None:
        self.share = share
        self.tiles_per_block = inlines * ROWS * COLUMNS
        self.rng = rng
        self.seen = self.empty = 0

    def target(self, *, is_last: bool) -> int:
        """Return how many tiles of the next block should be empty."""
        due = self.share * (self.seen + self.tiles_per_block) - self.empty
        variety = 0 if is_last else self.rng.uniform(-0.15, 0.15) * self.tiles_per_block
        return int(np.clip(round(due + variety), 0, self.tiles_per_block))

    def record(self, masks: np.ndarray) -> None:
        """Count a finished block's tiles, uint8 [I, R, C, 101, 101]."""
        self.seen += self.tiles_per_block
        self.empty += int((masks.max(axis=(-2, -1)) == 0).sum())


def _locate(seed: int, volume: int, inlines: int, split: str) -> pd.DataFrame:
    """Return the rows of one block's tiles in the order in which they are cut."""
    rng = generator(seed, "demo", "depth", volume)
    top = rng.uniform(150, 700)
    rows = []
    for inline, sample, crossline in np.ndindex(inlines, ROWS, COLUMNS):
        digest = derive_seed(seed, "demo", "id", volume, inline, sample, crossline)
        # As in TGS, depth follows the section only loosely.
        depth = int(np.clip(top + 70 * sample + rng.normal(0, 110), 50, 959))
        rows.append((f"{digest:016x}"[-10:], volume, inline, crossline, sample, depth))
    return pd.DataFrame(rows, columns=[*GEOMETRY, "z"]).assign(split=split)


def _write_pictures(
    folder: Path, tiles: pd.DataFrame, images: np.ndarray, masks: np.ndarray
) -> None:
    for part in ("train/images", "train/masks", "test/images"):
        (folder / part).mkdir(parents=True)
    for name, split, image, mask in zip(tiles["id"], tiles["split"], images, masks, strict=True):
        if split == TRAIN:
            rgb = np.repeat(image[:, :, None], 3, axis=2)  # [101, 101, 3]
            Image.fromarray(rgb).save(folder / f"train/images/{name}.png")
            deep = mask.astype(np.uint16) * SALT_16_BIT if mask.any() else mask
            Image.fromarray(deep).save(folder / f"train/masks/{name}.png")
        else:
            Image.fromarray(image).save(folder / f"test/images/{name}.png")


def _write_tables(
    folder: Path, tiles: pd.DataFrame, masks: np.ndarray, rng: np.random.Generator
) -> None:
    labelled = tiles["split"].eq(TRAIN).to_numpy()
    run_lengths = [rle.encode(mask) for mask in masks[labelled]]
    write_csv(folder / "train.csv", tiles.loc[labelled, ["id"]].assign(rle_mask=run_lengths))
    write_csv(folder / "depths.csv", tiles[["id", "z"]])
    sample = tiles.loc[~labelled, ["id"]].assign(rle_mask="1 1")
    write_csv(folder / "sample_submission.csv", sample.iloc[rng.permutation(len(sample))])
    write_csv(folder / "geometry.csv", tiles[GEOMETRY])
