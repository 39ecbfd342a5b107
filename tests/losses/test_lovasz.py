import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from salt.losses.lovasz import jaccard_steps, lovasz_hinge, symmetric_lovasz


def jaccard_loss(wrong: set[int], salt: set[int]) -> float:
    """Equation 3 of the paper: 1 - IoU if just the pixels `wrong` are mispredicted."""
    return 1 - len(salt - wrong) / len(salt | wrong) if salt | wrong else 0.0


def lovasz_extension(errors: list[float], salt: set[int]) -> float:
    """Definition 1 of the paper, literally: the set function's steps along falling errors."""
    order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
    total = 0.0
    for count, pixel in enumerate(order):
        step = jaccard_loss(set(order[: count + 1]), salt) - jaccard_loss(set(order[:count]), salt)
        total += errors[pixel] * step
    return total


def softened(error: float) -> float:
    """elu + 1."""
    return error + 1 if error > 0 else float(np.exp(error))


def by_definition(logits: torch.Tensor, masks: torch.Tensor) -> float:
    values = []
    for tile, mask in zip(logits.flatten(1).tolist(), masks.flatten(1).tolist(), strict=True):
        hinge = [1 - value * (2 * truth - 1) for value, truth in zip(tile, mask, strict=True)]
        salt = {pixel for pixel, truth in enumerate(mask) if truth}
        values.append(lovasz_extension([softened(error) for error in hinge], salt))
    return float(np.mean(values))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three tiles: salt in part, none, all."""
    draw = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(3, 1, 4, 5, generator=draw, dtype=torch.float64)
    masks = (torch.rand(3, 1, 4, 5, generator=draw, dtype=torch.float64) > 0.5).double()
    masks[1], masks[2] = 0, 1
    return logits, masks


def test_the_steps_of_three_pixels_are_those_by_hand() -> None:
    # salt, rock, salt by falling error: IoU 1/2 with the first wrong, 1/3 with two, 0 with all
    steps = jaccard_steps(torch.tensor([[1.0, 0.0, 1.0]]))
    torch.testing.assert_close(steps, torch.tensor([[1 / 2, 1 / 6, 1 / 3]]))


def test_without_salt_the_most_wrong_pixel_costs_all() -> None:
    assert jaccard_steps(torch.zeros(1, 4)).tolist() == [[1, 0, 0, 0]]


def test_the_hinge_is_the_lovasz_extension_of_the_paper(batch) -> None:
    logits, masks = batch
    loss = lovasz_hinge(logits, masks, torch.ones_like(masks))
    assert loss.item() == pytest.approx(by_definition(logits, masks))


def test_the_symmetric_form_is_the_mean_over_salt_and_its_complement(batch) -> None:
    logits, masks = batch
    expected = (by_definition(logits, masks) + by_definition(-logits, 1 - masks)) / 2
    loss = symmetric_lovasz(logits, masks, torch.ones_like(masks))
    assert loss.item() == pytest.approx(expected)


def test_ignored_pixels_are_as_if_cut_out(batch) -> None:
    logits, masks = batch
    valid = torch.ones_like(masks)
    valid[:, :, 2:] = 0
    cut = symmetric_lovasz(logits[:, :, :2], masks[:, :, :2], valid[:, :, :2])
    torch.testing.assert_close(symmetric_lovasz(logits, masks, valid), cut)


def test_with_a_plain_hinge_the_steps_give_the_loss_of_segmentation_models_pytorch(batch) -> None:
    logits, masks = (tensor.flatten(1).float() for tensor in batch)
    errors, order = (1 - logits * (2 * masks - 1)).sort(dim=1, descending=True)
    plain = (errors.relu() * jaccard_steps(masks.gather(1, order))).sum(1).mean()
    reference = smp.losses.LovaszLoss("binary", per_image=True)(logits, masks)
    torch.testing.assert_close(plain, reference)


def test_a_confident_right_answer_costs_nearly_nothing(batch) -> None:
    masks = batch[1]
    right, wrong = ((sign * 20 * (2 * masks - 1)) for sign in (1, -1))
    assert symmetric_lovasz(right, masks, torch.ones_like(masks)).item() < 1e-6
    assert symmetric_lovasz(wrong, masks, torch.ones_like(masks)).item() > 20
