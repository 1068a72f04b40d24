"""What a face model promises."""

import torch
from torch import Tensor

from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Albedo, FaceGeometry, FaceModel, FaceParameters
from emoca_core.interfaces.samples import FACES, sample_parameters
from emoca_core.testing.common import Subject, check_module, gradient_of, tensors_of

SIZE_RANGE = (0.1, 0.6)
"""Height of a mesh in metres: a mask without a neck, a bust."""


def check(subject: Subject[FaceModel]) -> None:
    """Topology, axes and units, rigid motion, padding of codes, appearance, gradients to every block."""
    model = subject.component
    subject.require(model.blocks, "blocks must be declared")
    code = sample_parameters(model.blocks)
    geometry, albedo = check_module(subject, _run, code, double=True)
    _check_topology(subject, model, geometry)
    _check_axes(subject, model)
    _check_rigid_motion(subject, model, code)
    _check_codes(subject, model)
    _check_landmarks_alone(subject, model, code, geometry)
    _check_albedo(subject, model, albedo)
    _check_gradients(subject, model)


def _run(model: FaceModel, code: FaceParameters) -> tuple[FaceGeometry, Albedo]:
    return model(code), model.albedo(code)


def _check_topology(subject: Subject[FaceModel], model: FaceModel, geometry: FaceGeometry) -> None:
    count = geometry.vertices.shape[1]
    subject.require(geometry.vertices.shape == (FACES, count, 3), "vertices must be [B, V, 3]")
    faces = model.faces
    subject.require(faces.dtype == torch.int64 and faces.shape[1:] == (3,), "faces must be int64 [F, 3]")
    subject.require(int(faces.min()) >= 0 and int(faces.max()) < count, "faces must index vertices")
    corners = faces.sort(dim=1).values
    subject.require((corners.diff(dim=1) > 0).all(), "no triangle may use a vertex twice")
    subject.require("ibug68" in geometry.landmarks, "the 68 iBUG landmarks must always be there")
    subject.require(geometry.landmarks["ibug68"].shape == (FACES, 68, 3), "landmarks ibug68 must be [B, 68, 3]")
    if model.expression_names:
        size = model.blocks.get("expression", 0)
        subject.require(len(model.expression_names) == size, f"expression_names must name all {size} coefficients")
    for name, mask in model.vertex_masks.items():
        subject.require(mask.dtype == torch.bool and mask.shape == (count,), f"vertex mask '{name}' must be bool [V]")
    if model.uv is not None:
        subject.require(model.uv_faces is not None, "uv needs uv_faces")
        assert model.uv_faces is not None
        subject.require(model.uv_faces.shape == faces.shape, "uv_faces must have one triangle for each of faces")
        subject.require(int(model.uv_faces.max()) < len(model.uv), "uv_faces must index uv")
        subject.require(model.uv.min() >= 0 and model.uv.max() <= 1, "uv must be in [0, 1]")


def _check_axes(subject: Subject[FaceModel], model: FaceModel) -> None:
    """Metres; x to the subject's left, y up, z out of the face; triangles counter-clockwise from outside."""
    neutral: FaceGeometry = model(FaceParameters(global_pose=torch.zeros(1, 3)))
    vertices, points = neutral.vertices[0], neutral.landmarks["ibug68"][0]
    height = float(vertices[:, 1].max() - vertices[:, 1].min())
    subject.require(
        SIZE_RANGE[0] < height < SIZE_RANGE[1], f"vertices must be in metres, the mesh is {height:.3g} high"
    )
    right_eye, left_eye, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0)
    subject.require(left_eye[0] > right_eye[0], "+x must be the subject's left: the eyes are exchanged")
    subject.require(mouth[1] < (left_eye[1] + right_eye[1]) / 2, "+y must be up: the mouth is above the eyes")
    subject.require(
        points[30, 2] > points[[0, 16], 2].mean(), "+z must point out of the face: the nose is behind the ears"
    )
    corners = vertices[model.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = corners.mean(1) - vertices.mean(0)
    subject.require((normals * outwards).sum() > 0, "triangles must be counter-clockwise seen from outside")
    longest = (corners - corners.roll(1, dims=1)).norm(dim=-1).max()
    distance = torch.cdist(points, vertices).min(dim=1).values.max()
    subject.require(distance <= longest, f"landmarks must lie on the surface, one is {distance:.3g} m away")


def _check_rigid_motion(subject: Subject[FaceModel], model: FaceModel, code: FaceParameters) -> None:
    """``global_pose`` turns everything about one point, and does nothing else."""
    if "global_pose" not in model.blocks:
        return
    turn = torch.tensor([[0.1, 0.4, -0.2]]).expand(FACES, 3)
    still = model(code.replace(global_pose=torch.zeros(FACES, 3)))
    turned = model(code.replace(global_pose=turn))
    rotation = rotation_vector_to_matrix(turn).mT
    offset = (turned.vertices - still.vertices @ rotation)[:, :1]
    promise = "global_pose must rotate the whole mesh about one point"
    subject.require_same(turned.vertices, still.vertices @ rotation + offset, 1e-4, promise)
    # the contour of the 68 points may follow the pose; every other point is fixed to the surface
    inner = slice(17, None)
    expected = still.landmarks["ibug68"][:, inner] @ rotation + offset
    subject.require_same(turned.landmarks["ibug68"][:, inner], expected, 1e-4, f"{promise}, and the landmarks")


def _check_codes(subject: Subject[FaceModel], model: FaceModel) -> None:
    """Absent means zero, short means padded, foreign blocks are ignored."""
    pose = torch.zeros(2, 3)
    zero = {name: torch.zeros(2, size) for name, size in model.blocks.items() if name not in ("camera", "lighting")}
    absent = _run(model, FaceParameters(global_pose=pose))
    units = {name: sample_parameters(model.blocks).unit_of(name) for name in model.blocks}
    everything = FaceParameters(global_pose=pose, units=units).replace(**zero)
    subject.require_same(_run(model, everything), absent, 0.0, "an absent block must be the same as zeros")
    foreign = FaceParameters(global_pose=pose, detail=torch.ones(2, 5))
    if "detail" not in model.blocks:
        subject.require_same(_run(model, foreign), absent, 0.0, "a block that is not declared must be ignored")
    for name in ("shape", "expression", "albedo"):
        size = model.blocks.get(name, 0)
        if size > 1:
            half = sample_parameters({name: size}, 2)
            values: Tensor = getattr(half, name)[:, : size // 2]
            padded = torch.nn.functional.pad(values, (0, size - values.shape[1]))
            short, long = (FaceParameters(global_pose=pose, **{name: block}) for block in (values, padded))  # type: ignore[arg-type]
            subject.require_same(
                _run(model, short), _run(model, long), 1e-6, f"a shorter {name} code must be padded with zeros"
            )


def _check_landmarks_alone(
    subject: Subject[FaceModel], model: FaceModel, code: FaceParameters, geometry: FaceGeometry
) -> None:
    """The same landmarks to rounding: products of another size are added up in another order."""
    alone = model.for_landmarks()(code).landmarks
    subject.require_same(alone, dict(geometry.landmarks), 1e-6, "for_landmarks must give the same landmarks")


def _check_albedo(subject: Subject[FaceModel], model: FaceModel, albedo: Albedo) -> None:
    subject.require(isinstance(albedo, Albedo), "albedo must return an Albedo")
    if albedo.texture is not None:
        side = albedo.texture.shape[-1]
        subject.require(albedo.texture.shape == (FACES, 3, side, side), "the texture must be [B, 3, T, T]")
        subject.require(model.uv is not None, "a texture needs uv")
    if albedo.vertex_colors is not None:
        subject.require(albedo.vertex_colors.shape[::2] == (FACES, 3), "vertex colours must be [B, V, 3]")


def _check_gradients(subject: Subject[FaceModel], model: FaceModel) -> None:
    for name, size in model.blocks.items():
        code = sample_parameters({**model.blocks})
        block = code.get(name)
        if isinstance(block, Tensor) and size:
            leaf = block.clone().requires_grad_()
            tensors = [t.flatten() for t in tensors_of(_run(model, code.replace(**{name: leaf}))).values()]
            gradient_of(subject, torch.cat(tensors), leaf, f"the mesh or its colour must depend on {name}")
