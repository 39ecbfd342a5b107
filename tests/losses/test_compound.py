from dataclasses import replace

import pytest
import torch

from salt.losses.boundary import boundary_loss
from salt.losses.compound import LossConfig, compound_loss
from salt.losses.dice import dice_loss
from salt.losses.focal import focal_loss
from salt.losses.lovasz import symmetric_lovasz
from salt.losses.presence import presence_loss
from salt.models.segmenter import Segmentation

NOTHING = LossConfig(
    dice_weight=0.0,
    bce_weight=0.0,
    focal_weight=0.0,
    focal_gamma=2.0,
    lovasz_weight=0.0,
    boundary_weight=0.0,
    presence_weight=0.0,
)
TERMS = {
    "dice_weight": lambda output, *rest: dice_loss(output.mask_logits, *rest[:2]),
    "bce_weight": lambda output, *rest: focal_loss(output.mask_logits, *rest[:2], gamma=0.0),
    "focal_weight": lambda output, *rest: focal_loss(output.mask_logits, *rest[:2], gamma=2.0),
    "lovasz_weight": lambda output, *rest: symmetric_lovasz(output.mask_logits, *rest[:2]),
    "boundary_weight": lambda output, *rest: boundary_loss(output.mask_logits, rest[2], rest[1]),
    "presence_weight": lambda output, *rest: presence_loss(output.presence_logits, *rest[:2]),
}


@pytest.fixture
def batch() -> tuple[Segmentation, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output, masks, valid and distance of two tiles."""
    draw = torch.Generator().manual_seed(0)
    output = Segmentation(
        torch.randn(2, 1, 8, 8, generator=draw), torch.randn(2, 1, generator=draw)
    )
    masks = (torch.rand(2, 1, 8, 8, generator=draw) > 0.5).float()
    valid = (torch.rand(2, 1, 8, 8, generator=draw) > 0.1).float()
    return output, masks, valid, torch.randn(2, 1, 8, 8, generator=draw)


@pytest.mark.parametrize("weight", TERMS)
def test_a_weight_brings_in_its_own_term_times_itself(batch, weight: str) -> None:
    loss = compound_loss(*batch, replace(NOTHING, **{weight: 0.7}))
    torch.testing.assert_close(loss, 0.7 * TERMS[weight](*batch))


def test_the_terms_add_up(batch) -> None:
    config = replace(NOTHING, **{weight: i + 1.0 for i, weight in enumerate(TERMS)})
    expected = sum((i + 1) * term(*batch) for i, term in enumerate(TERMS.values()))
    torch.testing.assert_close(compound_loss(*batch, config), expected)


def test_the_boundary_weight_changes_the_loss(batch) -> None:
    one, other = (
        compound_loss(*batch, replace(NOTHING, dice_weight=1.0, boundary_weight=weight)).item()
        for weight in (0.1, 0.5)
    )
    assert one != other


def test_focal_gamma_changes_the_loss(batch) -> None:
    one, other = (
        compound_loss(*batch, replace(NOTHING, focal_weight=1.0, focal_gamma=gamma)).item()
        for gamma in (1.0, 2.0)
    )
    assert one != other


def test_a_weight_of_zero_leaves_its_term_out_even_if_it_is_not_a_number(batch) -> None:
    output, masks, valid, distance = batch
    spoilt = compound_loss(
        output, masks, valid, distance * torch.nan, replace(NOTHING, dice_weight=1.0)
    )
    assert spoilt.isfinite()


def test_a_model_without_a_presence_head_has_no_presence_term(batch) -> None:
    output, *rest = batch
    config = replace(NOTHING, dice_weight=1.0, presence_weight=5.0)
    headless = compound_loss(Segmentation(output.mask_logits, None), *rest, config)
    torch.testing.assert_close(headless, TERMS["dice_weight"](*batch))


def test_half_precision_logits_are_summed_in_full_precision(batch) -> None:
    output, masks, valid, distance = batch
    config = replace(NOTHING, dice_weight=1.0, presence_weight=1.0)
    rounded = Segmentation(output.mask_logits.bfloat16(), output.presence_logits.bfloat16())
    exact = Segmentation(rounded.mask_logits.float(), rounded.presence_logits.float())
    losses = [compound_loss(o, masks, valid, distance, config) for o in (rounded, exact)]
    assert losses[0].dtype == torch.float32
    assert losses[0] == losses[1]
