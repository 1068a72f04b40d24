"""What a camera and a file do to a picture: blur, casts, grain, few pixels, JPEG."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from emoca_core.images.jpeg import jpeg_compressed
from emoca_plugins.datasets.synthetic_draws import Draws
from emoca_plugins.datasets.synthetic_shapes import gaussian_blur
from emoca_plugins.datasets.synthetic_variety import VarietyParams

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
MOTION_SHOTS = 9
JPEG_QUALITIES = (20, 90)


def taken(draws: Draws, scene: Float[Tensor, "B 3 S S"], params: VarietyParams) -> Float[Tensor, "B 3 S S"]:
    """A scene as a camera takes and a file keeps it, [0, 1]."""
    size = scene.shape[-1]
    sharp, unsharp = draws.uniform(0.1, 0.6), draws.uniform(0.0, 0.02) * size
    picture = gaussian_blur(scene, torch.where(draws.chance(params.share("defocus")), unsharp, sharp))
    picture = _moved(draws, picture, params.share("motion"))
    picture = _cast(draws, picture, params.share("casts"))
    grey = (picture * picture.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    colourless = draws.chance(params.share("grey"))
    picture = torch.where(colourless[:, None, None, None], grey, picture)
    return _kept(draws, picture, colourless, params)


def _moved(draws: Draws, picture: Float[Tensor, "B 3 S S"], share: float) -> Float[Tensor, "B 3 S S"]:
    """Blurred along a line of up to 6 % of the side."""
    size = picture.shape[-1]
    moving, angle, length = draws.chance(share), draws.uniform(0.0, 3.14), draws.uniform(0.0, 0.06) * size
    if not moving.any():
        return picture
    some = picture[moving]
    steps = 2 / size * length[moving, None] * torch.linspace(-0.5, 0.5, MOTION_SHOTS)
    places = torch.stack([steps * angle[moving].cos()[:, None], steps * angle[moving].sin()[:, None]], -1)
    grid = F.affine_grid(torch.eye(2, 3).expand(len(some), -1, -1), list(some.shape), align_corners=False)
    shots = [
        F.grid_sample(some, grid + place[:, None, None], padding_mode="border", align_corners=False)
        for place in places.unbind(1)
    ]
    picture = picture.clone()
    picture[moving] = torch.stack(shots).mean(0)
    return picture


def _cast(draws: Draws, picture: Float[Tensor, "B 3 S S"], share: float) -> Float[Tensor, "B 3 S S"]:
    """Exposure and contrast of every picture; colours and gamma of a share of them."""
    cast = draws.chance(share)[:, None]
    gains = torch.where(cast, draws.uniform(0.7, 1.3, 3), 1.0) * draws.uniform(0.75, 1.15, 1)
    gamma = torch.where(cast, 0.65 * (1.5 / 0.65) ** draws.uniform(0.0, 1.0, 1), 1.0)
    contrast, lift = draws.uniform(0.7, 1.2, 1), draws.uniform(-0.06, 0.06, 1)
    gains, gamma, contrast, lift = (value[..., None, None] for value in (gains, gamma, contrast, lift))
    exposed = (picture * gains).clamp(1e-4, 1) ** gamma
    return ((exposed - 0.45) * contrast + 0.45 + lift).clamp(0, 1)


def _kept(
    draws: Draws, picture: Float[Tensor, "B 3 S S"], colourless: Tensor, params: VarietyParams
) -> Float[Tensor, "B 3 S S"]:
    """Each picture with its own number of pixels, grain and compression, enlarged to its size again."""
    size = picture.shape[-1]
    least = min(params.lowest_resolution, size)
    sides = (
        torch.where(draws.chance(params.share("low_resolution")), least * (size / least) ** draws.uniform(), size)
        .round()
        .int()
        .tolist()
    )
    grains = (params.variety * params.grain * draws.uniform() ** 3).tolist()
    pressed = draws.chance(params.share("jpeg")).tolist()
    low, high = JPEG_QUALITIES
    qualities = draws.uniform(low, high).int().tolist()
    seeds = (draws.uniform() * 2**31).long().tolist()
    fine = draws.chance(0.5).tolist()
    kept = []
    for row, (side, grain, quality, seed) in enumerate(zip(sides, grains, qualities, seeds, strict=True)):
        one = picture[row : row + 1]
        if side < size:
            one = F.interpolate(one, (side, side), mode="bilinear", antialias=True)
        channels = 1 if colourless[row] or fine[row] else 3
        noise = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(seed))
        one = (one + grain * noise).clamp(0, 1)
        if pressed[row]:
            one = jpeg_compressed(one[0], quality)[None]
        kept.append(one if side == size else F.interpolate(one, (size, size), mode="bilinear"))
    return torch.cat(kept).clamp(0, 1)
