"""Where a face model's landmarks fall in the picture, how far from the detected ones, and the derivatives of that."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import FaceModel, PerspectiveCamera
from emoca_plugins.encoders.landmark_fit.camera import Intrinsics
from emoca_plugins.encoders.landmark_fit.derivatives import derivatives_along
from emoca_plugins.encoders.landmark_fit.points import Targets
from emoca_plugins.encoders.landmark_fit.unknowns import Unknowns

_AT_ONCE = 300_000
"""Vertices times faces times directions that are differentiated together: bounds the memory, and fits the cache."""


@dataclass(frozen=True)
class LandmarkObjective:
    """Reprojection residuals of the landmarks of one batch.

    Attributes:
        model: The face model.
        unknowns: Meaning of the columns of x.
        targets: Detected points.
        weight: How much each of them counts.
        intrinsics: Focal length and principal point of each crop.
        half_size: Half of width and height of the crop, pixels.
        sigma: Expected distance of a detected point from the model's, as a fraction of ``targets.size``.
        pair_sigma: The same for the distance between two lids or lips.
        shape: Of the person, where it is known and none of the unknowns.
    """

    model: FaceModel
    unknowns: Unknowns
    targets: Targets
    weight: Float[Tensor, "B N"]
    intrinsics: Intrinsics
    half_size: Float[Tensor, "2"]
    sigma: float
    pair_sigma: float
    shape: Float[Tensor, "1 S"] | None = None
    _last: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    def points(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B N 3"]:
        """The model's points, rotated but not placed, metres."""
        return self.targets.of(self.model(self.unknowns.parameters(x, self.shape)).landmarks)

    def _points_again(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B N 3"]:
        """``points``; a step that every face takes asks twice: whether it is better, and where to go from there."""
        if not (self._last and torch.equal(self._last[0][0], x)):
            self._last[:] = [(x.clone(), self.points(x))]
        return self._last[0][1]

    def project(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B N 2"]:
        """The model's points in NDC."""
        return self.camera(x).project(self._points_again(x))[..., :2]

    def camera(self, x: Float[Tensor, "B P"]) -> PerspectiveCamera:
        """The camera in front of which the head is."""
        return self.intrinsics.lengthened(self.unknowns.lens(x)).camera(self.unknowns.translation(x))

    def residuals(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 2 M"]:
        """Whitened reprojection errors: of each point, then of the vector between the two points of each pair."""
        error = (self.project(x) - self.targets.points).mT
        first, second = self.targets.pairs.unbind(1)
        gap = error.index_select(-1, first) - error.index_select(-1, second)
        point_scale, pair_scale = self._scales()
        return torch.cat([error * point_scale, gap * pair_scale], dim=-1)

    def directions(self, x: Float[Tensor, "B P"]) -> "Directions":
        """How the unknowns move the points at x, by differentiation: works with any model."""
        vertices = int(self.model.faces.max()) + 1
        along = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)[list(self.unknowns.directed)]
        columns = derivatives_along(self.points, x, along, max(1, _AT_ONCE // (len(x) * vertices)))
        unturned = columns.transpose(0, 1).flatten(1, 2) @ self.rotation(x)  # rows: p^T R is R^T p
        planes = unturned.reshape(len(x), len(columns), -1, 3).permute(3, 0, 1, 2)
        return Directions(planes.contiguous(), right_jacobian(x[:, self.unknowns.columns["rotation"]]))

    def rotation(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 3 3"]:
        """Orientation of the head."""
        return rotation_vector_to_matrix(x[:, self.unknowns.columns["rotation"]])

    def _scales(self) -> tuple[Float[Tensor, "B 2 N"], Float[Tensor, "B 2 K"]]:
        """Sigmas in an error of a point in NDC, and in one of a pair."""
        to_size = (self.half_size / self.targets.size[:, None])[..., None]
        points, pairs = self.weight.sqrt() / self.sigma, self.targets.pair_weight.sqrt() / self.pair_sigma
        return to_size * points[:, None], to_size * pairs[:, None]

    def jacobian(
        self, x: Float[Tensor, "B P"], weight: Float[Tensor, "B M"], directions: "Directions"
    ) -> Float[Tensor, "B P 2 M"]:
        """Derivatives of weighted ``residuals``, unknowns first: d(f X/Z + c) = f (dX - X/Z dZ) / Z.

        Turning and placing the head is followed exactly; the rest is as good as the directions.

        Scales and weights go to the few numbers of each point, not to its many derivatives.
        """
        known = self.unknowns
        rotation, translation, camera = self.rotation(x), known.translation(x), self.camera(x)
        points = camera.to_camera_axes(self._points_again(x))
        scale = camera.focal[:, None] / points[..., 2:]
        slope = points[..., :2] / points[..., 2:]
        across = rotation[:, None, :2] * rotation.new_tensor([[1.0], [-1.0]])  # camera y and z oppose the model's
        by_axis = (scale[..., None] * (across + slope[..., None] * rotation[:, None, 2:])).permute(3, 0, 2, 1)
        placing = _placing(camera.focal, slope.mT, points[..., 2], translation, known.lens(x))
        count = points.shape[1]
        point_scale, pair_scale = self._scales()
        point_scale, pair_scale = point_scale * weight[:, None, :count], pair_scale * weight[:, None, count:]
        first, second = self.targets.pairs.unbind(1)
        at_pairs = torch.cat([by_axis[..., first] * pair_scale, by_axis[..., second] * -pair_scale])
        rows = x.new_empty(*x.shape, 2, count + len(self.targets.pairs))
        by_axis = by_axis * point_scale
        lens, place = known.columns["lens"], known.columns["place"]
        turning = directions.turning(known, right_jacobian(x[:, known.columns["rotation"]]))
        for planes, columns in (
            (directions.planes[:, :, : place.start - lens.stop], slice(lens.stop, place.start)),
            (turning, known.columns["rotation"]),
            (directions.planes[:, :, place.start - lens.stop :], slice(place.stop, None)),
        ):
            _combine(planes, by_axis, rows[:, columns, :, :count])
            _combine(torch.cat([planes[..., first], planes[..., second]]), at_pairs, rows[:, columns, :, count:])
        for part, moved in ((place, placing[:, 1:]), (lens, placing[:, : lens.stop])):
            rows[:, part, :, :count] = moved * point_scale[:, None]
            rows[:, part, :, count:] = (moved[..., first] - moved[..., second]) * pair_scale[:, None]
        return rows


@dataclass(frozen=True)
class Directions:
    """Directions, fixed to the head, in which the unknowns move its points.

    For linear models with joints they hardly depend on the face, so that those of the average face serve all.

    Attributes:
        planes: x, y and z of the motion of each point per unit of each unknown (but those of the place), in the axes
            of the unrotated head, metres. One face, or one for each of a batch.
        right_jacobian: Of the rotation vector at which they were found.
    """

    planes: Float[Tensor, "3 B C N"]
    right_jacobian: Float[Tensor, "B 3 3"]

    def without_first(self, columns: int) -> "Directions":
        """Those of the other unknowns."""
        return Directions(self.planes[:, :, columns:].contiguous(), self.right_jacobian)

    def turning(self, unknowns: Unknowns, now: Float[Tensor, "B 3 3"]) -> Float[Tensor, "3 B 3 N"]:
        """Directions of the rotation vector where the head is now.

        d(R q) = R [J_r dr]x q is linear in J_r dr: the three directions are mixed by the change of J_r.
        """
        first = unknowns.directed.index(unknowns.columns["rotation"].start)
        mixing: Tensor = torch.linalg.solve(self.right_jacobian, now).mT
        return mixing @ self.planes[:, :, first : first + 3]


def right_jacobian(vector: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """J_r with exp(r + dr) = exp(r) exp(J_r dr) to first order.

    Source: I - (1 - cos t)/t^2 K + (t - sin t)/t^3 K^2, e.g. Sola, Deray and Atchuthan 2018, eq. 143.
    """
    angle = vector.norm(dim=1).clamp_min(1e-3)[:, None, None]  # single precision: below, the limit is as exact
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    linear = 2 * (angle / 2).sin().square() / angle.square()
    quadratic = torch.where(angle < 0.1, 1 / 6 - angle.square() / 120, (angle - angle.sin()) / angle.pow(3))
    identity = torch.eye(3, device=vector.device, dtype=vector.dtype)
    return identity - linear * cross + quadratic * (cross @ cross)


def _combine(
    directions: Float[Tensor, "A #B C N"], by_axis: Float[Tensor, "A B 2 N"], out: Float[Tensor, "B C 2 N"]
) -> None:
    """Motion in the image of points that move along directions of the head."""
    torch.mul(directions[0, :, :, None], by_axis[0, :, None], out=out)
    for axis in range(1, len(directions)):
        out.addcmul_(directions[axis, :, :, None], by_axis[axis, :, None])


def _placing(
    focal: Float[Tensor, "B 2"],
    slope: Float[Tensor, "B 2 N"],
    away: Float[Tensor, "B N"],
    translation: Float[Tensor, "B 3"],
    lens: Float[Tensor, "B"],
) -> Float[Tensor, "B 4 2 N"]:
    """Motion in the image per unit of the lens, then of the place of the head."""
    across, depth = translation[:, :2, None], translation[:, 2:, None]
    scale = focal[:, :, None] / away[:, None]
    both = torch.eye(2, device=scale.device, dtype=scale.dtype)[None, :, :, None]
    aside = both * (scale * depth / lens[:, None, None])[:, None]
    further, longer = scale * (across - slope * depth), slope * (focal[:, :, None] - scale * depth)
    return torch.cat([longer[:, None], aside, further[:, None]], dim=1)
