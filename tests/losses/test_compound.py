from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from salt.losses.boundary import boundary_loss
from salt.losses.compound import LossConfig, compound_loss
from salt.losses.dice import dice_loss
from salt.losses.distance_weighted import distance_weighted_loss
from salt.losses.focal import focal_loss
from salt.losses.iou import focal_iou_loss, iou_loss
from salt.losses.lovasz import lovasz_hinge, symmetric_lovasz
from salt.losses.presence import presence_loss
from salt.losses.topology import topology_loss
from salt.losses.total_variation import total_variation_loss
from salt.losses.tversky import tversky_loss
from salt.models.segmenter import Segmentation

NOTHING = LossConfig()
PIXEL_TERMS = {
    "dice_weight": lambda logits, masks, valid, _: dice_loss(logits, masks, valid),
    "bce_weight": lambda logits, masks, valid, _: focal_loss(logits, masks, valid, gamma=0.0),
    "focal_weight": lambda logits, masks, valid, _: focal_loss(logits, masks, valid, gamma=2.0),
    "lovasz_weight": lambda logits, masks, valid, _: symmetric_lovasz(logits, masks, valid),
    "lovasz_hinge_weight": lambda logits, masks, valid, _: lovasz_hinge(logits, masks, valid),
    "boundary_weight": lambda logits, _, valid, distance: boundary_loss(logits, distance, valid),
    "distance_weight": lambda *batch: distance_weighted_loss(*batch),
    "iou_weight": lambda logits, masks, valid, _: iou_loss(logits, masks, valid),
    "focal_iou_weight": lambda logits, masks, valid, _: focal_iou_loss(logits, masks, valid, 2.0),
    "tversky_weight": lambda logits, masks, valid, _: tversky_loss(logits, masks, valid, 0.3, 0.7),
    "topology_weight": lambda logits, masks, valid, _: topology_loss(logits, masks, valid, 10),
    "total_variation_weight": lambda logits, _, valid, __: total_variation_loss(logits, valid),
}
TERMS = {
    name: lambda output, *rest, term=term: term(output.mask_logits, *rest)
    for name, term in PIXEL_TERMS.items()
}
TERMS["presence_weight"] = lambda output, *rest: presence_loss(output.presence_logits, *rest[:2])


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


@pytest.mark.parametrize(
    ("weight", "setting", "values"),
    [
        ("focal_weight", "focal_gamma", (1.0, 2.0)),
        ("focal_iou_weight", "focal_iou_gamma", (1.0, 2.0)),
        ("tversky_weight", "tversky_alpha", (0.3, 0.5)),
        ("tversky_weight", "tversky_beta", (0.5, 0.7)),
        ("topology_weight", "topology_iterations", (1, 3)),
    ],
)
def test_the_setting_of_a_term_changes_the_loss(batch, weight: str, setting: str, values) -> None:
    one, other = (
        compound_loss(*batch, replace(NOTHING, **{weight: 1.0, setting: value})).item()
        for value in values
    )
    assert one != other


@pytest.mark.parametrize("weight", PIXEL_TERMS)
def test_auxiliary_logits_are_scored_by_the_same_term_and_averaged(batch, weight: str) -> None:
    output, *rest = batch
    further = (output.mask_logits + 1, -output.mask_logits)
    config = replace(NOTHING, **{weight: 0.5}, auxiliary_weight=0.4)
    means = sum(PIXEL_TERMS[weight](logits, *rest) for logits in further) / 2
    expected = 0.5 * PIXEL_TERMS[weight](output.mask_logits, *rest) + 0.4 * 0.5 * means
    loss = compound_loss(output._replace(auxiliary=further), *rest, config)
    torch.testing.assert_close(loss, expected)


def test_auxiliary_logits_without_a_weight_change_nothing(batch) -> None:
    output, *rest = batch
    config = replace(NOTHING, dice_weight=1.0)
    deep = output._replace(auxiliary=(output.mask_logits * torch.nan,))
    assert torch.equal(compound_loss(deep, *rest, config), compound_loss(output, *rest, config))


def test_cross_entropy_plus_dice_of_the_unet_study_is_a_weighting_of_two_terms(batch) -> None:
    output, masks, valid, _ = batch
    entropy = F.binary_cross_entropy_with_logits(output.mask_logits[valid == 1], masks[valid == 1])
    expected = 0.3 * entropy + 2.0 * dice_loss(output.mask_logits, masks, valid)
    config = replace(NOTHING, bce_weight=0.3, dice_weight=2.0)
    torch.testing.assert_close(compound_loss(*batch, config), expected)


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
