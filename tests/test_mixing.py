from dataclasses import replace

import numpy as np
import pytest
import torch

from salt.dataset import Batch, signed_distance
from salt.mixing import cut_mix, mix_up, mixed_batches


@pytest.fixture
def batch() -> Batch:
    """Six tiles of a constant value each, the first three all salt, some pixels ignored."""
    values = torch.arange(6.0)[:, None, None, None]
    masks = (values < 3).float().expand(6, 1, 21, 21)
    valid = torch.ones(6, 1, 21, 21)
    valid[4] = 0
    distance = torch.zeros(6, 1, 21, 21)
    return Batch(values.expand(6, 3, 21, 21), masks, valid, distance, list("abcdef"))


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def mixed(batch: Batch, mixup: float, cutmix: float, epoch: int = 0) -> list[Batch]:
    settings = {"seed": 1, "epoch": epoch, "stack_width": 3, "distances": False}
    return list(mixed_batches([batch] * 40, mixup=mixup, cutmix=cutmix, **settings))


def test_mixup_blends_images_by_their_share_and_leaves_targets_hard(batch: Batch) -> None:
    blended = mix_up(batch, draw(0))
    assert 0 < blended.share < 1
    assert sorted(blended.partner.tolist()) == [0, 1, 2, 3, 4, 5]
    for tile, partner in enumerate(blended.partner.tolist()):
        expected = blended.share * tile + (1 - blended.share) * partner
        torch.testing.assert_close(blended.images[tile], torch.full((3, 21, 21), expected))
    assert blended.masks is batch.masks and blended.valid is batch.valid


def test_cutmix_pastes_image_mask_and_valid_pixels_at_one_place(batch: Batch) -> None:
    pasted_share = []
    for seed in range(30):
        pasted = cut_mix(batch, draw(seed), stack_width=3, distances=False)
        assert pasted.partner is None
        values = pasted.images[:, :1]
        torch.testing.assert_close(pasted.masks, (values < 3).float())
        torch.testing.assert_close(pasted.valid, (values != 4).float())
        moved = (pasted.images != batch.images).any(dim=(0, 1))  # [H, W]
        rows, columns = moved.any(1), moved.any(0)
        assert torch.equal(moved, rows[:, None] & columns)  # one rectangle
        pasted_share.append(moved.float().mean().item())
    assert min(pasted_share) < 0.2 and max(pasted_share) > 0.5


def test_cutmix_measures_distances_in_the_pasted_mask(batch: Batch) -> None:
    pasted = cut_mix(batch, draw(3), stack_width=3, distances=True)
    assert pasted.distance.any()
    targets = (pasted.masks, pasted.valid, pasted.distance)
    for mask, valid, distance in zip(*(target.numpy() for target in targets), strict=True):
        np.testing.assert_array_equal(distance[0], signed_distance(mask[0], 1 - valid[0]))


def test_cutmix_leaves_every_tile_its_own_depth(batch: Batch) -> None:
    told = replace(batch, images=torch.cat([batch.images, batch.images[:, :1] + 10], dim=1))
    pasted = cut_mix(told, draw(3), stack_width=3, distances=False)
    assert not torch.equal(pasted.images[:, :3], told.images[:, :3])
    assert torch.equal(pasted.images[:, 3], told.images[:, 3])


def test_without_mixing_batches_pass_untouched(batch: Batch) -> None:
    assert all(passed is batch for passed in mixed(batch, 0.0, 0.0))


def test_batches_are_mixed_as_often_as_asked(batch: Batch) -> None:
    batches = mixed(batch, mixup=0.5, cutmix=0.25)
    blended = sum(one.partner is not None for one in batches)
    untouched = sum(one is batch for one in batches)
    assert 12 <= blended <= 28  # of 40; expected 20, deviation 3
    assert 3 <= untouched <= 18  # expected 10
    assert all(one is not batch for one in mixed(batch, mixup=0.5, cutmix=0.5))


def test_a_batch_is_mixed_alike_whenever_it_is_asked_for(batch: Batch) -> None:
    first, again = (mixed(batch, 0.5, 0.5) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.share == other.share
    later = mixed(batch, 0.5, 0.5, epoch=1)
    assert not all(torch.equal(a.images, b.images) for a, b in zip(first, later, strict=True))


def test_a_moved_batch_keeps_its_partners(batch: Batch) -> None:
    there = replace(batch, partner=torch.tensor([1, 0, 2, 3, 4, 5]), share=0.7).to(
        torch.device("cpu")
    )
    assert there.partner.tolist() == [1, 0, 2, 3, 4, 5]
    assert there.share == 0.7
