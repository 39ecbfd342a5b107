"""Input channels beside the stack: its depth, and what a convolution sees only from afar."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn


class InputChannels(nn.Module):
    """Append depth, hand-made features and coordinates to a stack of tiles.

    Computed inside the network, so that they follow every augmentation of the image and
    nothing that masked pretraining hides can be read from them.

    Args:
        coordinates: append a row and a column channel, each from -1 to 1.
        features: names from `FEATURES`, computed on the stack's own (middle) tile.
        depth_input: `none`, or `channel` or `inside` where images come with their depth as one
            more channel: `channel` lets it follow the stack, `inside` takes it away.
    """

    def __init__(
        self, coordinates: bool, features: Sequence[str], depth_input: str = "none"
    ) -> None:
        super().__init__()
        self.coordinates, self.features = coordinates, tuple(features)
        self.depth_input = depth_input
        self.extra = (depth_input == "channel") + 2 * coordinates + len(self.features)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return [B, C + extra, H, W] for a stack [B, C, H, W], its depth behind it or not."""
        stack = images if self.depth_input == "none" else images[:, :-1]
        if not self.extra:
            return stack
        channels = [stack]
        if self.depth_input == "channel":
            channels.append(depth_channel(images, stack.shape[-2:]))
        own = stack[:, stack.shape[1] // 2][:, None].float()  # [B, 1, H, W]
        with torch.autocast(images.device.type, enabled=False):
            channels += [FEATURES[name](own) for name in self.features]
        if self.coordinates:
            channels.append(coordinate_channels(stack))
        return torch.cat(channels, dim=1)


def depth_channel(images: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return the depth of images whose last channel it is, [B, 1, *size].

    It is read at the centre, which is the tile's own whatever was padded, pasted or moved;
    where whole images are blended, so are their depths.
    """
    depth = images[:, -1:, images.shape[-2] // 2, images.shape[-1] // 2]
    return depth[:, :, None, None].expand(-1, 1, *size)


def coordinate_channels(images: torch.Tensor) -> torch.Tensor:
    """Return row and column [B, 2, H, W], each from -1 to 1 (Liu et al. 2018, arXiv:1807.03247)."""
    rows, columns = (
        torch.linspace(-1, 1, size, dtype=images.dtype, device=images.device)
        for size in images.shape[-2:]
    )
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return grid.expand(len(images), -1, -1, -1)


def gradient_magnitude(own: torch.Tensor) -> torch.Tensor:
    """Return the length of the Sobel gradient of [B, 1, H, W], per pixel, edges repeated."""
    across = own.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack([across, across.T])[:, None]  # [2, 1, 3, 3]
    gradient = F.conv2d(F.pad(own, (1, 1, 1, 1), mode="replicate"), kernels)
    return torch.linalg.vector_norm(gradient, dim=1, keepdim=True)


def cumulative_amplitude(own: torch.Tensor) -> torch.Tensor:
    """Return the sum of all amplitudes above each pixel of [B, 1, H, W], itself included.

    It begins at the top of what it is given: in a padded tile, with the margin's mirrored rows.
    The tile's mean is taken off first, and the sums are standardised per tile: what a
    trace has integrated to is a crude relative impedance.
    """
    centred = own - own.mean((2, 3), keepdim=True)
    height = own.shape[-2]
    # A product with a triangle: cumsum has no deterministic kernel on a GPU.
    above = torch.ones(height, height, dtype=own.dtype, device=own.device).tril()
    sums = above @ centred
    sums = sums - sums.mean((2, 3), keepdim=True)
    return sums / sums.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-3)


FEATURES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gradient": gradient_magnitude,
    "cumulative_amplitude": cumulative_amplitude,
}
