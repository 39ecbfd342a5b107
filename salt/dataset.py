"""Tiles to tensors: 2.5-D stacks, real margins, deterministic epochs, loss-ready targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from salt.augment import Augmentation
from salt.depth import TileImages, TilesWithDepth, joined_images, standardised, with_depth
from salt.errors import StoreError
from salt.neighbours.margins import WidenedTiles, surrounding_tiles
from salt.padding import margins, pad
from salt.seeding import derive_seed
from salt.stacks import read_neighbours, require_same_tiles, stack_rows
from salt.store import TILE_SIZE, TileStore, open_store

PLACE_COLUMNS = ["mosaic", "row", "column"]
GREY_MEAN, GREY_STD = 0.47, 0.16  # of all TGS tiles, in [0, 1]
WHOLE = slice(None)


@dataclass(frozen=True)
class Batch:
    """Tensors of one batch at the tiles' own size, or at that of canvases with real margins.

    Attributes:
        images: float32 [B, C, H, W], normalised; the last channel is the depth where it is told.
        masks: float32 [B, 1, H, W] in {0, 1}.
        valid: float32 [B, 1, H, W], 0 where the loss must not look.
        distance: float32 [B, 1, H, W] signed distance to the salt boundary, negative inside,
            as a share of a tile's side; zero where a tile's valid pixels are all one class.
        ids: the tiles' ids, for messages.
        partner: int64 [B], the tile of the batch whose image is blended into each; or None.
        share: of each image that is its own; the loss is blended alike (see `salt.mixing`).
    """

    images: torch.Tensor
    masks: torch.Tensor
    valid: torch.Tensor
    distance: torch.Tensor
    ids: list[str]
    partner: torch.Tensor | None = None
    share: float = 1.0

    def to(self, device: torch.device) -> "Batch":
        """Move every tensor."""
        return Batch(
            self.images.to(device),
            self.masks.to(device),
            self.valid.to(device),
            self.distance.to(device),
            self.ids,
            None if self.partner is None else self.partner.to(device),
            self.share,
        )


@dataclass(frozen=True)
class LabelledTiles:
    """Labelled tiles in memory, each with the rows of its stack.

    Attributes:
        images: uint8 [n, H, W]: every tile that a stack may need.
        stacks: int64 [m, C]: rows of `images` for each labelled tile's channels, its own in the
            middle.
        masks, ignore: uint8 [m, H, W].
        ids: m ids.
        along_section: whether a stack's channels lie side by side; see `salt.stacks`.
    """

    images: TileImages
    stacks: np.ndarray
    masks: np.ndarray
    ignore: np.ndarray
    ids: list[str]
    along_section: bool = False

    def __len__(self) -> int:
        return len(self.stacks)

    def subset(self, rows: np.ndarray) -> "LabelledTiles":
        """Return the tiles at `rows`; images are shared, not copied."""
        return replace(
            self,
            stacks=self.stacks[rows],
            masks=self.masks[rows],
            ignore=self.ignore[rows],
            ids=[self.ids[row] for row in rows],
        )

    def sample(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return one tile's stack uint8 [C, H, W], mask and ignore mask [H, W].

        With real margins, neighbours among *these* tiles give their labels in the margin, and
        all else there is ignored: a tile that was left out, such as one held out, tells nothing.
        """
        stack = self.images[self.stacks[row]]
        tiles = self.images.tiles if isinstance(self.images, TilesWithDepth) else self.images
        if not isinstance(tiles, WidenedTiles):
            return stack, self.masks[row], self.ignore[row]
        own = self.stacks[row, self.stacks.shape[1] // 2]
        return stack, *tiles.labels(self.masks, self.ignore, own, self._label_at)

    @cached_property
    def _label_at(self) -> np.ndarray:
        """Each image's place among the labels, -1 without; one more item, for no image at all."""
        place = np.full(len(self.images) + 1, -1, np.int64)
        place[self.stacks[:, self.stacks.shape[1] // 2]] = np.arange(len(self))
        return place

    def joined(self, others: "LabelledTiles") -> "LabelledTiles":
        """Return these tiles and behind them the others, whose images are copied.

        The others come as a plain array, as tiles that lie beside nothing and have no depth.
        """
        more = cast(np.ndarray, others.images)
        if isinstance(self.images, TilesWithDepth):
            images: TileImages = self.images.joined(more)
        else:
            images = joined_images(self.images, more)
        return replace(
            self,
            images=images,
            stacks=np.concatenate([self.stacks, others.stacks + len(self.images)]),
            masks=np.concatenate([self.masks, others.masks]),
            ignore=np.concatenate([self.ignore, others.ignore]),
            ids=[*self.ids, *others.ids],
        )


def open_stacks(ingest: Path, index: Path, width: int) -> tuple[TileStore, np.ndarray]:
    """Open the tile store and return it with the stack rows of all its tiles."""
    store = open_store(ingest)
    return store, stack_rows(store, read_neighbours(index), width)


def open_images(
    store: TileStore, index: Path, padding: str, input_size: int, depth_input: str = "none"
) -> TileImages:
    """Return all images of the store, with what else a network is told about them.

    Args:
        padding: `neighbours` gives them real margins.
        depth_input: all but `none` give them their depths.

    Raises:
        StoreError: the neighbour table is not about this store's tiles, or does not say where
            they lie; or no tile has a depth, and depths are asked for.
    """
    images: np.ndarray | WidenedTiles = np.asarray(store.images)
    if padding == "neighbours":
        images = _widened(store, index, input_size)
    if depth_input == "none":
        return images
    return TilesWithDepth(images, standardised(store.table["depth"].to_numpy(np.float64)))


def _widened(store: TileStore, index: Path, input_size: int) -> WidenedTiles:
    images = np.asarray(store.images)
    neighbours = read_neighbours(index)
    require_same_tiles(store, neighbours)
    places = neighbours.reindex(columns=PLACE_COLUMNS)
    if places.isna().any(axis=None):
        raise StoreError(
            f"{index}/neighbours.csv: a tile without {', '.join(PLACE_COLUMNS)}; expected a whole "
            "number in each, lone tiles in mosaics of their own. Rerun the index stage."
        )
    around = surrounding_tiles(*places.to_numpy(np.int64).T)
    return WidenedTiles(images, around, margins(images.shape[-1], input_size))


def labelled_tiles(
    store: TileStore,
    stacks: np.ndarray,
    images: TileImages | None = None,
    along_section: bool = False,
) -> LabelledTiles:
    """Gather a store's labelled tiles; `images` are all of the store's, by default plain ones."""
    count = len(store.masks)
    return LabelledTiles(
        np.asarray(store.images) if images is None else images,
        stacks[:count],
        np.asarray(store.masks),
        np.asarray(store.ignore),
        list(store.labelled["id"]),
        along_section,
    )


def normalise(stack: np.ndarray) -> torch.Tensor:
    """Turn uint8 [..., H, W] into float32 with about zero mean and unit deviation."""
    return (torch.from_numpy(stack.astype(np.float32)) / 255 - GREY_MEAN) / GREY_STD


def signed_distance(mask: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel [H, W] to the salt boundary, as a share of a tile's side.

    Negative inside salt, positive outside (Kervadec et al. 2019, arXiv:1812.07032, eq. 5 and its
    reference implementation). Where `ignore` is not 0 the class is unknown: no pixel is measured
    from there, and there the map says nothing. Zero everywhere if all others are of one class.
    """
    from scipy.ndimage import distance_transform_edt

    known = ignore == 0
    salt, rock = mask.astype(bool) & known, ~mask.astype(bool) & known
    if not salt.any() or not rock.any():
        return np.zeros(mask.shape, np.float32)
    outside = distance_transform_edt(~salt)
    inside = distance_transform_edt(~rock) - 1
    return (np.where(salt, -inside, outside) / TILE_SIZE).astype(np.float32)


class EpochDataset(Dataset):
    """One epoch's samples in their order: (index into tiles, seed of its augmentation)."""

    def __init__(
        self,
        tiles: LabelledTiles,
        order: np.ndarray,
        seeds: Sequence[int],
        augmentation: Augmentation | None,
        distances: bool,
    ) -> None:
        self.tiles, self.order, self.seeds = tiles, order, seeds
        self.augmentation, self.distances = augmentation, distances

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(
        self, position: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
        row = self.order[position]
        stack, mask, ignore = self.tiles.sample(row)
        stack = np.moveaxis(stack, 0, -1)  # [H, W, C]
        if self.augmentation is not None:
            stack, mask, ignore = self.augmentation(
                np.ascontiguousarray(stack),
                mask,
                ignore,
                self.seeds[position],
                self.tiles.along_section,
            )
        distance = np.zeros(mask.shape, np.float32)
        if self.distances:
            distance = signed_distance(mask, ignore)
        return np.moveaxis(stack, -1, 0), mask, ignore, distance, self.tiles.ids[row]


def collate(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]]) -> Batch:
    """Stack samples into one batch."""
    stacks, masks, ignores, distances, ids = zip(*samples, strict=True)
    return Batch(
        images=normalise(np.stack(stacks)),
        masks=torch.from_numpy(np.stack(masks).astype(np.float32))[:, None],
        valid=1 - torch.from_numpy(np.stack(ignores).astype(np.float32))[:, None],
        distance=torch.from_numpy(np.stack(distances))[:, None],
        ids=list(ids),
    )


def training_batches(
    tiles: LabelledTiles,
    *,
    epoch: int,
    seed: int,
    batch_size: int,
    augmentation: Augmentation | None,
    distances: bool = False,
    extra: int = 0,
    extra_drawn: int = 0,
    workers: int = 0,
    part: slice = WHOLE,
) -> Iterator[Batch]:
    """Yield one shuffled, augmented epoch; the last incomplete batch is left out.

    Args:
        seed: with `epoch`, decides the order and every augmentation.
        distances: also compute signed distance maps, after augmentation.
        extra: number of tiles at the end (synthetic ones) of which each epoch sees only
            `extra_drawn`, drawn anew.
        part: of every batch's tiles, for one of several processes.
    """
    rng = np.random.default_rng(derive_seed(seed, "order", epoch))
    own = len(tiles) - extra
    order = np.arange(own)
    if extra_drawn:
        drawn = rng.choice(extra, size=extra_drawn, replace=extra_drawn > extra)
        order = np.concatenate([order, own + drawn])
    order = rng.permutation(order)
    if len(order) >= batch_size:
        order = order[: len(order) - len(order) % batch_size]
    else:  # one small batch, of which all processes get as many: some tiles come twice for that
        order = np.resize(order, len(order) + -len(order) % (part.step or 1))
    seeds = [derive_seed(seed, "augment", epoch, int(position)) for position in range(len(order))]
    dataset = EpochDataset(tiles, order, seeds, augmentation, distances)
    positions = range(len(order))
    parts = [list(positions[at : at + batch_size][part]) for at in positions[::batch_size]]
    batches = DataLoader(dataset, batch_sampler=parts, num_workers=workers, collate_fn=collate)
    for rows, batch in zip(parts, batches, strict=True):
        stacks = tiles.stacks[order[rows]]
        yield replace(batch, images=with_depth(batch.images, tiles.images, stacks))


def ordered_batches(
    images: TileImages,
    stacks: np.ndarray,
    batch_size: int,
    input_size: int,
    padding: str = "reflect",
) -> Iterator[torch.Tensor]:
    """Yield normalised stacks padded to the network's input, in order: [B, C, P, P].

    Where a network is told depths, they are one more channel.
    """
    for start in range(0, len(stacks), batch_size):
        rows = stacks[start : start + batch_size]
        yield with_depth(pad(normalise(images[rows]), input_size, padding), images, rows)
