import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation, grey_erosion

from salt.losses.topology import soft_skeleton, topology_loss

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def eroded(tile: np.ndarray) -> np.ndarray:
    return grey_erosion(tile, footprint=CROSS, mode="constant", cval=np.inf)


def opened(tile: np.ndarray) -> np.ndarray:
    return grey_dilation(eroded(tile), size=3, mode="constant", cval=-np.inf)


def skeleton_by_scipy(tile: np.ndarray, iterations: int) -> np.ndarray:
    """Algorithm 1 of the paper in scipy's grey morphology."""
    skeleton = np.maximum(tile - opened(tile), 0)
    for _ in range(iterations):
        tile = eroded(tile)
        skeleton = skeleton + (1 - skeleton) * np.maximum(tile - opened(tile), 0)
    return skeleton


def band(rows: slice) -> torch.Tensor:
    masks = torch.zeros(1, 1, 15, 15)
    masks[:, :, rows] = 1
    return masks


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(2, 1, 12, 12, generator=draw, dtype=torch.float64)
    return logits, (torch.rand(2, 1, 12, 12, generator=draw) > 0.4).double()


def test_the_skeleton_is_that_of_scipys_morphology(batch) -> None:
    maps = torch.sigmoid(batch[0])
    for iterations in (0, 1, 4):
        expected = [skeleton_by_scipy(tile[0], iterations) for tile in maps.numpy()]
        found = soft_skeleton(maps, iterations)[:, 0].numpy()
        np.testing.assert_allclose(found, np.stack(expected), atol=1e-12)


def test_a_band_of_five_rows_is_thinned_to_its_middle() -> None:
    skeleton = soft_skeleton(band(slice(5, 10)), iterations=3)
    torch.testing.assert_close(skeleton, band(slice(7, 8)))


def test_the_value_is_the_papers_harmonic_mean(batch) -> None:
    logits, masks = (tensor[:1] for tensor in batch)
    maps, truth = torch.sigmoid(logits)[0, 0].numpy(), masks[0, 0].numpy()
    own, true = skeleton_by_scipy(maps, 3), skeleton_by_scipy(truth, 3)
    precision = ((own * truth).sum() + 1) / (own.sum() + 1)
    sensitivity = ((true * maps).sum() + 1) / (true.sum() + 1)
    expected = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    loss = topology_loss(logits, masks, torch.ones_like(masks), iterations=3)
    assert loss.item() == pytest.approx(expected)


def test_a_broken_band_costs_more_than_one_that_is_thin_by_as_many_pixels() -> None:
    masks = band(slice(5, 10))
    thin, broken = masks.clone(), masks.clone()
    thin[:, :, 5] = 0  # 15 pixels less, still one piece
    broken[..., 6:9] = 0  # 15 pixels less, in two pieces
    costs = [
        topology_loss(40 * (maps - 0.5), masks, torch.ones_like(masks), iterations=3).item()
        for maps in (masks, thin, broken)
    ]
    assert costs[0] < 1e-6
    assert costs[1] < costs[2]
