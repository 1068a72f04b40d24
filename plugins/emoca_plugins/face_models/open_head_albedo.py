"""The open head's appearance: a texture from a short code of skin tone, brows, irises, lips, stubble, blush, ..."""

from collections.abc import Iterator
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emoca_plugins.face_models.open_head_data import read_open_head_arrays

BROW_COLOUR = (0.17, 0.11, 0.08)
BROW_LIGHTNESS = (0.45, 0.45, 0.45)
BROW_WARMTH = (0.22, 0.0, -0.22)
"""Change of log RGB of the brow hair per unit of code."""
BROW_DENSITY = 0.6
"""Change of the log of the hair's optical density per unit of code."""
MOST_OPAQUE = 0.98
"""Of a brow of average density."""
FAVOURITE_BROW = 1.5
"""Logit added to the first style, so that the zero code shows a real brow and not the blur of all styles."""


ONE_SIDED_SLOPE = 3.0
"""Steepness of c * sigmoid(slope * c), the smooth ramp of one-sided regions: at least -0.09, gradient 1/2 at zero."""


class OpenHeadAlbedo(nn.Module):
    """Albedo code to texture; differentiable in every number.

    The code, all zero for the average face, about standard normal over people:

    - ``skin_1`` ... ``skin_8``: principal components of the log colour of 20 skins, standard deviations. The first is
      lightness and explains most.
    - ``lip_redness``, ``lip_darkness``, ``stubble``, ``blush``, ``freckles``, ``under_eye_shadow``, ``lashes``,
      ``scalp_hair``, ``iris_lightness`` (brown to blue), ``iris_green``: regional changes of log colour. Negative
      values do the opposite (paler lips, lighter lashes) where there is one, and next to nothing where there is not
      (stubble, freckles, blush, ...).
    - ``brow_style_1`` ... ``brow_style_6``: logits of six brow shapes; their softmax mixes them.
    - ``brow_density`` (log thickness), ``brow_lightness``, ``brow_warmth``: the brow hair.

    Attributes:
        names: Name of every number of the code.
        skin_names: The 20 skins whose tones are in ``skin_codes``.
    """

    mean: Tensor
    modes: Tensor
    masks: Tensor
    colours: Tensor
    one_sided: Tensor
    brows: Tensor
    skin_codes: Tensor

    def __init__(self, texture_size: int = 512) -> None:
        """Load the shipped data.

        Args:
            texture_size: Side of the texture; sizes below the data's 512 are averaged once, here.
        """
        super().__init__()
        data = read_open_head_arrays("open_head_albedo")
        self.skin_names = tuple(str(name) for name in data["skin_names"])
        self._offset = float(data["offset"].item())
        regions = tuple(str(name) for name in data["region_names"])
        self._skin_count, self._region_count = len(data["modes"]), len(regions)
        self.names = (
            *(f"skin_{i + 1}" for i in range(self._skin_count)),
            *regions,
            *(f"brow_style_{i + 1}" for i in range(len(data["brows"]))),
            "brow_density",
            "brow_lightness",
            "brow_warmth",
        )
        mean = torch.from_numpy(data["mean"]).permute(2, 0, 1).float() / 255
        scale = torch.from_numpy(data["mode_scale"])[:, None, None, None]
        modes = torch.from_numpy(data["modes"]).permute(0, 3, 1, 2).contiguous().float().mul_(scale)
        masks = torch.from_numpy(data["region_masks"]).float() / 255
        x0, y0, x1, y1 = data["brow_box"].tolist()
        brows = torch.zeros(len(data["brows"]), *mean.shape[1:])
        brows[:, y0:y1, x0:x1] = torch.from_numpy(data["brows"]).float() / 255
        self._constant("mean", torch.log(_resized(mean, texture_size) + self._offset).flatten())
        self._constant("modes", _resized(modes, texture_size).flatten(1))
        self._constant("masks", _resized(masks, texture_size).flatten(1))
        self._constant("brows", _resized(brows, texture_size).flatten(1))
        self._constant("colours", torch.from_numpy(data["region_colours"]))
        self._constant("one_sided", torch.from_numpy(data["region_one_sided"]))
        self._constant("skin_codes", torch.from_numpy(data["skin_codes"]))
        self._texture_size = texture_size

    def forward(self, code: Float[Tensor, "B A"]) -> Float[Tensor, "B 3 T T"]:
        """Paint a texture.

        Args:
            code: Numbers in the order of ``names``.

        Returns:
            RGB, nominally in [0, 1], not clamped; row 0 is v = 1.
        """
        sizes = [self._skin_count, self._region_count, len(self.brows), 3]
        skin, region, style, hair = torch.split(code, sizes, 1)
        region = torch.where(self.one_sided, region * torch.sigmoid(ONE_SIDED_SLOPE * region), region)
        tints = (region.unsqueeze(-1) * self.colours).mT.flatten(0, 1)  # one row for each channel of each face
        untinted = torch.addmm(self.mean, skin, self.modes).reshape(len(tints), -1)
        colour = torch.addmm(untinted, tints, self.masks).exp().reshape(len(code), 3, -1) - self._offset
        cover, hair_colour = self._brow_layer(style, hair)
        painted = torch.lerp(colour, hair_colour, cover)
        return painted.reshape(len(code), 3, self._texture_size, self._texture_size)

    def changes(self) -> Iterator[Float[Tensor, "3 T T"]]:
        """Derivatives of the texture at the zero code, in closed form, for each number of ``names``."""
        still = self.mean.new_zeros(1, len(self.brows))
        share = self._styles(still)[0]
        alpha = share @ self.brows
        cover, hair = (value[0] for value in self._brow_layer(still, still[:, :3]))
        skin = self.mean.exp().reshape(3, -1)
        bare, over = skin * (1 - cover), hair + self._offset - skin
        slope = torch.where(self.one_sided, 0.5, 1.0)[:, None]  # of c sigmoid(k c) it is 1/2 at zero
        tints = (tint[:, None] * mask for tint, mask in zip(slope * self.colours, self.masks, strict=True))
        styles = ((brow - alpha) * part * (alpha < MOST_OPAQUE) for brow, part in zip(self.brows, share, strict=True))
        density = -BROW_DENSITY * (1 - cover) * (1 - cover).log()
        hairs = (hair.new_tensor(tint)[:, None] for tint in (BROW_LIGHTNESS, BROW_WARMTH))
        changes = chain(
            (bare * log_colour for log_colour in chain(self.modes.reshape(-1, *skin.shape), tints)),
            (over * opacity for opacity in chain(styles, [density])),
            (cover * hair * log_colour for log_colour in hairs),
        )
        return (change.reshape(3, self._texture_size, self._texture_size) for change in changes)

    def _styles(self, style: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Share of each brow style."""
        favourite = torch.zeros_like(style[:1])
        favourite[0, 0] = FAVOURITE_BROW
        return torch.softmax(style + favourite, 1)

    def _brow_layer(
        self, style: Float[Tensor, "B K"], hair: Float[Tensor, "B 3"]
    ) -> tuple[Float[Tensor, "B 1 N"], Float[Tensor, "B 3 1"]]:
        """Opacity per texel and colour of the brow hair."""
        alpha = self._styles(style) @ self.brows
        density = (BROW_DENSITY * hair[:, :1]).exp()
        cover = 1 - (1 - alpha.clamp(max=MOST_OPAQUE)).pow(density)  # Beer-Lambert: more hair, never above one
        tint = hair[:, 1:2] * hair.new_tensor(BROW_LIGHTNESS) + hair[:, 2:3] * hair.new_tensor(BROW_WARMTH)
        return cover.unsqueeze(1), (hair.new_tensor(BROW_COLOUR) * tint.exp()).unsqueeze(-1)

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.contiguous(), persistent=False)


def _resized(maps: Tensor, size: int) -> Tensor:
    """[..., N, N] maps at another size: averaged when smaller, bilinear when larger."""
    if maps.shape[-1] == size:
        return maps
    mode = "area" if size < maps.shape[-1] else "bilinear"
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    return nn.functional.interpolate(flat, size=(size, size), mode=mode).reshape(*maps.shape[:-2], size, size)
