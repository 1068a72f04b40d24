"""Light and albedo that explain the pixels of a face whose geometry is known."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from emoca_core.geometry.lighting import SH_CONSTANTS, spherical_harmonics
from emoca_core.interfaces import Albedo, FaceCrop, FaceModel, FaceParameters, Fragments, Renderer
from emoca_core.rendering.face import interpolate_normals, interpolate_uv
from emoca_core.rendering.topology import sample_texture
from emoca_plugins.encoders.landmark_fit.derivatives import derivatives_along
from emoca_plugins.encoders.landmark_fit.solver import Prior, Sharing, levenberg_marquardt

_REGIONS = ("face", "eye_left", "eye_right")
"""Vertex masks whose pixels count, where the model has them: hair, teeth and the dark of the mouth are left out."""
_PIXELS = 1024  # at most so many pixels of each face take part
_INDEPENDENT_PIXELS = 60.0  # what they are worth together: the errors of neighbours are alike
_SATURATED = 0.97  # a channel of the photo at this value says only that the surface was at least as bright
_CHANGE_SIZE = 256  # side of the texture that the change of the albedo is kept in, texels
_LIGHT = (0.60, 0.0, 0.10, 0.35, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Grey light expected, by band, as brightness of a white surface: from the front and a little from above."""
_LIGHT_SIGMA = (0.06, 0.25, 0.35, 0.08, 0.08, 0.08, 0.12, 0.08, 0.08)
"""Its standard deviation."""
_TINT_SIGMA = 0.2  # of the colour of all light, relative
_DIRECTED_TINT_SIGMA = 0.06  # of the colour of light from one side, brightness of a white surface
_TINTS = ((1.0, 0.0, -1.0), (-0.5, 1.0, -0.5))
"""Red against blue, and green against both."""
_LIGHT_COLUMNS = [9, 2, 6]  # grey bands, tint of all light, two tints of three directed bands


@dataclass(frozen=True)
class Strength:
    """How strongly the photometric fit is held to what is expected.

    Attributes:
        albedo: Standard deviation of albedo coefficients.
        pixel: Expected error of a pixel, of 1.
        robust_limit: Errors beyond so many of them count linearly.
    """

    albedo: float
    pixel: float
    robust_limit: float


@dataclass(frozen=True)
class _Surface:
    """D numbers everywhere on the mesh, one set for each face or one for all; ``None`` is white.

    Attributes:
        texture: In UV space.
        vertices: At the vertices.
    """

    texture: Float[Tensor, "#B D T T"] | None = None
    vertices: Float[Tensor, "#B V D"] | None = None


@dataclass(frozen=True)
class _Pixels:
    """The visible pixels of the face that take part.

    Attributes:
        color: The photo, RGB.
        bands: Spherical harmonics of the normal.
        weight: How much each counts; zero for padding.
        sample: Reads surfaces at the pixels, [B, D, N].
    """

    color: Float[Tensor, "B 3 N"]
    bands: Float[Tensor, "B 9 N"]
    weight: Float[Tensor, "B N"]
    sample: Callable[[_Surface], Tensor]


@dataclass(frozen=True)
class AlbedoChange:
    """How the albedo of a model changes with its code, at the average code. Independent of the faces: found once.

    Attributes:
        surface: The change per coefficient, stacked along the channels of one texture, or of one set of vertex colours.
        count: Number of coefficients.
    """

    surface: _Surface
    count: int


KNOWN_ALBEDO = AlbedoChange(_Surface(), 0)
"""Only the light is fitted."""


def albedo_change(face_model: FaceModel, like: Tensor) -> AlbedoChange:
    """How the albedo of a model changes: as the model says, or by differentiation, which works with any of them.

    Args:
        face_model: The model.
        like: Gives dtype and device.
    """
    count = face_model.blocks.get("albedo", 0)
    code = like.new_zeros(1, count)
    albedo = face_model.albedo(FaceParameters(albedo=code))
    textured = albedo.texture is not None
    if count == 0 or (not textured and albedo.vertex_colors is None):
        return AlbedoChange(_Surface(), 0)

    def surface(albedo: Albedo) -> Tensor:
        picture = albedo.texture if textured else albedo.vertex_colors
        assert picture is not None
        return _smaller(picture) if textured else picture

    if (known := face_model.albedo_changes()) is not None:
        columns = [surface(one)[0] for one in known]
    else:
        along = torch.eye(count, dtype=code.dtype, device=code.device)
        columns = list(
            derivatives_along(
                lambda value: surface(face_model.albedo(FaceParameters(albedo=value))), code, along, at_once=1
            )[:, 0]
        )
    stacked = torch.cat(columns, dim=0 if textured else 1)[None]
    return AlbedoChange(_Surface(texture=stacked) if textured else _Surface(vertices=stacked), count)


def fit_appearance(
    crop: FaceCrop,
    parameters: FaceParameters,
    face_model: FaceModel,
    renderer: Renderer,
    change: AlbedoChange,
    strength: Strength,
    identity: Int[Tensor, "B"],
    *,
    size: int,
    rounds: int,
    iterations: int,
) -> FaceParameters:
    """Fill the blocks ``albedo`` (where the model has one) and ``lighting``.

    Args:
        crop: The photos.
        parameters: Geometry and camera of every face.
        face_model: What they belong to.
        renderer: Finds what each pixel sees.
        change: Of ``face_model``; ``KNOWN_ALBEDO`` leaves the albedo in ``parameters`` as it is.
        strength: Regularisation.
        identity: Faces with the same number share their albedo.
        size: Side of the picture that is compared, pixels.
        rounds: How often the albedo is evaluated afresh.
        iterations: At most so many steps in each round.

    Source: image = albedo * sum_i lighting_i c_i Y_i(normal), DECA's model of light, fitted by robust least squares.
    """
    pixels = _visible_pixels(crop, parameters, face_model, renderer, size)
    count = change.count
    sharing = Sharing.by_label(count, identity)
    prior = _prior(crop.image, count, strength)
    x, tints = prior.mean.clone(), crop.image.new_tensor(_TINTS)

    def colors_of(code: Tensor) -> Tensor:
        if count:
            return pixels.sample(_painted(face_model, code, sharing))
        albedo = face_model.albedo(parameters)
        return pixels.sample(_Surface(albedo.texture, albedo.vertex_colors))

    average = colors_of(x[:, :count])
    first = pixels.sample(change.surface).reshape(len(x), count, 3, -1) if count else average[:, None][:, :0]
    for _ in range(rounds if count else 1):
        colors = colors_of(x[:, :count])
        slope = _slope(x[:, :count], average, first, colors)
        objective = _PhotoObjective(pixels, x[:, :count], colors, slope, tints, strength)
        x = levenberg_marquardt(
            x,
            objective.residuals,
            objective.jacobian,
            prior,
            sharing,
            iterations=iterations,
            robust_limit=strength.robust_limit,
        )
    fitted = {"albedo": x[:, :count]} if count else {}
    return parameters.replace(lighting=_lighting(x[:, count:], tints), **fitted)


def _painted(face_model: FaceModel, code: Float[Tensor, "B A"], sharing: Sharing) -> _Surface:
    """The albedo of every face, painted once for each person; where there is one person, one for all."""
    if sharing.count == len(code):
        albedo = face_model.albedo(FaceParameters(albedo=code))
        return _Surface(albedo.texture, albedo.vertex_colors)
    albedo = face_model.albedo(FaceParameters(albedo=code[sharing.members]))
    of_people = albedo.texture, albedo.vertex_colors
    return _Surface(*(o if o is None or sharing.count == 1 else o[sharing.group] for o in of_people))


def _slope(
    code: Float[Tensor, "B A"],
    average: Float[Tensor, "B 3 N"],
    first: Float[Tensor, "B A 3 N"],
    colors: Float[Tensor, "B 3 N"],
) -> Float[Tensor, "B A 3 N"]:
    """Change of the colours per coefficient at ``code``, from that at the average.

    Albedo models are linear in colour (the change stays) or in its logarithm (it is proportional to the colour);
    whichever foretells the colours at ``code`` better is taken, for each face.
    """
    step = (code[:, None] @ first.flatten(2)).reshape(average.shape)
    base = average.clamp_min(1e-3)
    ratio = (colors / base).clamp(0, 10)
    error_linear = (average + step - colors).square().sum((1, 2))
    error_log = (base * (step / base).clamp(-5, 5).exp() - colors).square().sum((1, 2))
    return torch.where((error_log < error_linear)[:, None, None, None], first * ratio[:, None], first)


def _smaller(texture: Float[Tensor, "B D T T"]) -> Float[Tensor, "B D S S"]:
    """Averaged to at most ``_CHANGE_SIZE`` texels a side."""
    factor = texture.shape[-1] // _CHANGE_SIZE
    return F.avg_pool2d(texture, factor) if factor > 1 else texture


@dataclass(frozen=True)
class _PhotoObjective:
    """Differences between photo and rendering at the pixels, for an albedo that is linear in its code.

    Attributes:
        pixels: What is seen.
        code: Where the albedo was linearised.
        albedo: Colours there.
        change: Their change per coefficient.
        tints: RGB of each tint.
        strength: Regularisation.
    """

    pixels: _Pixels
    code: Float[Tensor, "B A"]
    albedo: Float[Tensor, "B 3 N"]
    change: Float[Tensor, "B A 3 N"]
    tints: Float[Tensor, "2 3"]
    strength: Strength

    def residuals(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 3 N"]:
        """Whitened differences."""
        lit = (self._albedo(x) * self._shading(x)).clamp_max(_SATURATED)
        return (lit - self.pixels.color) * self._scale[:, None]

    def jacobian(self, x: Float[Tensor, "B P"], weight: Float[Tensor, "B N"]) -> Float[Tensor, "B P 3 N"]:
        """Their weighted derivatives: shading times change of albedo, and albedo times change of shading."""
        albedo, lit_by = self._albedo(x), self._shading(x)
        scale = (weight * self._scale)[:, None] * (albedo * lit_by < _SATURATED)  # overexposed pixels do not change
        by_code = self.change * (lit_by * scale)[:, None]
        grey, tint, _ = torch.split(x[:, self.code.shape[1] :], _LIGHT_COLUMNS, dim=1)
        bands = self.pixels.bands
        by_grey = (1 + tint @ self.tints)[:, None, :, None] * bands[:, :, None]
        by_tint = (grey[:, None] @ bands)[:, :, None] * self.tints[None, :, :, None]
        by_directed = self.tints[None, :, None, :, None] * bands[:, None, 1:4, None]
        shading = torch.cat([by_grey, by_tint, by_directed.flatten(1, 2)], dim=1)
        return torch.cat([by_code, shading * (albedo * scale)[:, None]], dim=1)

    @property
    def _scale(self) -> Float[Tensor, "B N"]:
        return self.pixels.weight.sqrt() / self.strength.pixel

    def _albedo(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 3 N"]:
        step = x[:, : self.code.shape[1]] - self.code
        return self.albedo + (step[:, None] @ self.change.flatten(2)).reshape(self.albedo.shape)

    def _shading(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 3 N"]:
        return _lighting(x[:, self.code.shape[1] :], self.tints).mT @ self.pixels.bands


def _visible_pixels(
    crop: FaceCrop, parameters: FaceParameters, face_model: FaceModel, renderer: Renderer, size: int
) -> _Pixels:
    """Rasterise the fitted face and gather the pixels that it should explain."""
    assert parameters.camera is not None
    geometry = face_model(parameters)
    fragments = renderer.rasterize(parameters.camera.project(geometry.vertices), face_model.faces, (size, size))
    normals, towards = interpolate_normals(renderer, fragments, geometry.vertices)
    photo = F.interpolate(crop.image, (size, size), mode="bilinear", antialias=True, align_corners=False)
    facing = (-towards[:, 0]).clamp(0, 1) * (towards[:, 0] < -0.2)  # grazing pixels are half background
    inside = F.interpolate(_inside_photo(crop), (size, size), mode="bilinear", align_corners=False)[:, 0] > 0.999
    weight = (facing * _region(fragments, face_model, renderer) * inside).flatten(1)
    index, chosen = _choose(weight)

    def gather(image: Tensor) -> Tensor:
        return image.flatten(2).gather(2, index[:, None].expand(-1, image.shape[1], -1))

    unit = F.normalize(gather(normals), dim=1)
    total = chosen.sum(1, keepdim=True).clamp_min(1e-6)
    return _Pixels(
        color=gather(photo).clamp_max(_SATURATED),
        bands=spherical_harmonics(unit.mT).mT,
        weight=chosen * (_INDEPENDENT_PIXELS / total).clamp_max(1.0),
        sample=_sampler(fragments, face_model, renderer, gather),
    )


def _inside_photo(crop: FaceCrop) -> Float[Tensor, "B 1 H W"]:
    """1 for pixels of the crop that lie in the photo, 0 for the padding around it."""
    height, width = crop.size
    rows, columns = torch.meshgrid(
        torch.arange(height, device=crop.image.device), torch.arange(width, device=crop.image.device), indexing="ij"
    )
    if crop.crop_to_image is None or crop.photo_size is None:
        return crop.image.new_ones(len(crop), 1, height, width)
    points = torch.stack([columns, rows, torch.ones_like(rows)]).flatten(1).to(crop.image.dtype)
    x, y = (crop.crop_to_image.to(points)[:, :2] @ points).unbind(1)
    last = crop.photo_size.to(points) - 1
    inside = (x >= 0) & (y >= 0) & (x <= last[:, 1:]) & (y <= last[:, :1])
    return inside.to(points.dtype).reshape(len(crop), 1, height, width)


def _region(fragments: Fragments, face_model: FaceModel, renderer: Renderer) -> Float[Tensor, "B H W"]:
    masks = [face_model.vertex_masks[name] for name in _REGIONS if name in face_model.vertex_masks]
    if not masks:
        return fragments.mask[:, 0]
    inside = torch.stack(masks).any(0).to(fragments.vertices)[None, :, None]
    return (renderer.interpolate(fragments, inside.expand(len(fragments.vertices), -1, -1))[:, 0] > 0.99).to(inside)


def _choose(weight: Float[Tensor, "B Q"]) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Evenly spread pixels of positive weight, the same number for every face; surplus ones get weight zero."""
    seen = weight > 0
    order = (~seen).to(torch.uint8).argsort(dim=1, stable=True)
    counts = seen.sum(1, keepdim=True)
    number = max(1, min(_PIXELS, int(counts.max())))
    steps = torch.arange(number, device=weight.device)[None] * (counts.to(torch.float64) / number).clamp_min(1.0)
    position = steps.long().clamp_max(weight.shape[1] - 1)
    index = order.gather(1, position)
    return index, weight.gather(1, index) * (position < counts)


def _sampler(
    fragments: Fragments, face_model: FaceModel, renderer: Renderer, gather: Callable[[Tensor], Tensor]
) -> Callable[[_Surface], Tensor]:
    """Reads surfaces at the chosen pixels."""
    grid = None
    if face_model.uv is not None:
        grid = gather(interpolate_uv(renderer, fragments, face_model).permute(0, 3, 1, 2)).mT[:, :, None]

    def sample(surface: _Surface) -> Tensor:
        if surface.texture is not None and grid is not None:
            if len(surface.texture) == len(grid):
                return sample_texture(surface.texture, grid)[..., 0]
            row = sample_texture(surface.texture, grid.reshape(1, -1, 1, 2))[0, ..., 0]  # one texture for all faces
            return row.reshape(len(row), *grid.shape[:2]).transpose(0, 1)
        if surface.vertices is not None:
            values = surface.vertices.expand(len(fragments.vertices), -1, -1)
            return gather(renderer.interpolate(fragments, values))
        return gather(fragments.mask.expand(-1, 3, -1, -1))

    return sample


def _prior(like: Tensor, count: int, strength: Strength) -> Prior:
    """Average albedo under light from the front that is nearly white."""
    scale = 1 / like.new_tensor(SH_CONSTANTS)
    code = like.new_full((count,), strength.albedo)
    tint, directed = like.new_full((2,), _TINT_SIGMA), (scale[1:4] * _DIRECTED_TINT_SIGMA).repeat(2)
    mean = torch.cat([0 * code, scale * like.new_tensor(_LIGHT), 0 * tint, 0 * directed])
    sigma = torch.cat([code, scale * like.new_tensor(_LIGHT_SIGMA), tint, directed])
    infinite = torch.full_like(mean, torch.inf)
    return Prior(*(value.expand(len(like), -1) for value in (mean, sigma.square().reciprocal(), -infinite, infinite)))


def _lighting(x: Float[Tensor, "B 17"], tints: Float[Tensor, "2 3"]) -> Float[Tensor, "B 9 3"]:
    """Nine grey bands, the tint of all light, and the tints of the three directed bands, to nine bands of RGB."""
    grey, tint, directed = torch.split(x, _LIGHT_COLUMNS, dim=1)
    lighting = grey[:, :, None] * (1 + tint @ tints)[:, None]
    lighting[:, 1:4] += directed.reshape(-1, 2, 3).mT @ tints
    return lighting
