import pytest
import torch

from salt.models.masked import MaskedModel, random_squares, reconstruction_loss


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("patch", "ratio"), [(8, 0.5), (16, 0.25), (4, 0.75), (32, 0.5)])
def test_the_hidden_share_is_exact_in_every_tile(
    generator: torch.Generator, patch: int, ratio: float
) -> None:
    hidden = random_squares(5, 128, patch, ratio, generator)
    assert hidden.shape == (5, 1, 128, 128)
    assert hidden.mean((1, 2, 3)).tolist() == [ratio] * 5


def test_hidden_places_are_whole_squares(generator: torch.Generator) -> None:
    hidden = random_squares(3, 128, 16, 0.5, generator)
    squares = hidden.unfold(2, 16, 16).unfold(3, 16, 16)  # [B, 1, 8, 8, 16, 16]
    assert set(squares.mean((-1, -2)).flatten().tolist()) == {0.0, 1.0}


def test_tiles_of_a_batch_and_batches_of_a_stream_differ(generator: torch.Generator) -> None:
    first, second = (random_squares(2, 64, 8, 0.5, generator) for _ in range(2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_a_patch_that_does_not_divide_is_cut_off_at_the_far_edge(
    generator: torch.Generator,
) -> None:
    assert random_squares(2, 101, 8, 0.5, generator).shape == (2, 1, 101, 101)


@pytest.mark.parametrize("changes", [{}, {"stack_width": 1}, {"architecture": "unet"}])
def test_the_drawing_does_not_depend_on_what_is_hidden(
    make_segmenter, generator: torch.Generator, changes: dict
) -> None:
    model = MaskedModel(make_segmenter(**changes)).eval()
    images = torch.randn(2, model.segmenter.config.stack_width, 128, 128)
    hidden = random_squares(2, 128, 8, 0.5, generator)
    with torch.no_grad():
        before = model(images, hidden)
        assert torch.equal(model(images + 5 * hidden, hidden), before)
        assert not torch.equal(model(images + 5 * (1 - hidden), hidden), before)


def test_the_token_that_hides_pixels_is_learnt(make_segmenter, generator: torch.Generator) -> None:
    model = MaskedModel(make_segmenter()).train()
    images = torch.randn(2, 3, 128, 128)
    hidden = random_squares(2, 128, 8, 0.5, generator)
    reconstruction_loss(model(images, hidden), images, hidden).backward()
    assert (model.mask_token.grad != 0).all()


def test_the_loss_is_the_error_at_hidden_pixels_of_the_middle_channel() -> None:
    images = torch.tensor([[9.0, 9], [1, 2], [9, 9]]).view(1, 3, 1, 2)
    drawn = torch.tensor([4.0, 100.0]).view(1, 1, 1, 2)
    hidden = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert reconstruction_loss(drawn, images, hidden).item() == 3


def test_visible_pixels_get_no_gradient() -> None:
    drawn = torch.randn(2, 1, 8, 8, requires_grad=True)
    hidden = (torch.rand(2, 1, 8, 8) > 0.5).float()
    reconstruction_loss(drawn, torch.randn(2, 3, 8, 8), hidden).backward()
    assert torch.equal(drawn.grad != 0, hidden == 1)
