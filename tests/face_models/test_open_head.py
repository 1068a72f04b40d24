"""The open head: accuracy against its source, anatomy, landmarks, masks, gradients, conformance."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from emoca_core.errors import UnknownNameError
from emoca_core.interfaces import FaceParameters
from emoca_core.testing import check_component
from emoca_core.vocabulary.arkit import ARKIT_NAMES, emotion_prototypes
from emoca_plugins.face_models.open_head import OpenHead

REFERENCE = Path(__file__).parent / "open_head_reference.npz"


@pytest.fixture(scope="module")
def head():
    return OpenHead(OpenHead.Params(texture_size=128))


def face(shape=None, count=1, **blocks):
    """Parameters of `count` mean faces unless a shape is given."""
    return FaceParameters(shape=torch.zeros(count, 100) if shape is None else shape, **blocks)


def activate(count=1, **activations):
    expression = torch.zeros(count, 52)
    for name, value in activations.items():
        expression[:, ARKIT_NAMES.index(name)] = value
    return expression


def random_shapes(count, seed=0):
    return torch.randn(count, 100, generator=torch.Generator().manual_seed(seed))


def test_conformance():
    check_component("face_model", "open_head", {"texture_size": 64})


def test_one_person_expanded_over_a_batch_gets_the_faces_of_many(head):
    shape, expression = random_shapes(1), torch.rand(4, 52, generator=torch.Generator().manual_seed(1))
    pose = 0.3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    code = face(shape.repeat(4, 1), expression=expression, jaw_pose=pose, global_pose=pose)
    expanded = code.replace(shape=shape.expand(4, -1))
    assert expanded.shape.stride(0) == 0  # which is what is quicker
    # half a micrometre: sums of 100 products in another order, rounded in float32 at 0.3 m
    torch.testing.assert_close(head(expanded).vertices, head(code).vertices, atol=5e-7, rtol=0)


def test_size_of_the_shipped_data():
    folder = Path(__file__).parents[2] / "plugins/emoca_plugins/face_models/data"
    files = list(folder.glob("open_head*.npz"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) <= 8e6


def test_error_against_people_of_the_source(head):
    """Held-out MakeHuman people: the loss of 100 modes (and float16) in millimetres."""
    reference = np.load(REFERENCE)
    vertices = head(face(torch.from_numpy(reference["codes"]))).vertices[:, reference["vertex"].astype(int)]
    error = (vertices - torch.from_numpy(reference["positions"])).norm(dim=-1)[:, reference["in_face"]] * 1e3
    assert error.mean() < 0.42
    assert error.max() < 3.5


def test_mean_face_is_symmetric(head):
    vertices = head(face()).vertices[0]
    flipped = vertices[head.mirror] * torch.tensor([-1.0, 1.0, 1.0])
    assert (vertices - flipped).norm(dim=-1).max() < 5e-6
    assert torch.equal(head.mirror[head.mirror], torch.arange(len(vertices)))


def test_sided_expressions_mirror_each_other(head):
    left = head(face(expression=activate(mouthSmileLeft=1.0, browDownLeft=1.0))).vertices[0]
    right = head(face(expression=activate(mouthSmileRight=1.0, browDownRight=1.0))).vertices[0]
    # painted by hand in the source: symmetric to a fraction of a millimetre, not exactly
    assert (right - left[head.mirror] * torch.tensor([-1.0, 1.0, 1.0])).norm(dim=-1).max() < 1.5e-3


def test_triangles_face_outward(head):
    vertices, mask = head(face()).vertices[0], head.vertex_masks
    corners = vertices[head.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centre = corners.mean(1)
    for part in ("skin", "eye_left", "eye_right"):
        own = head.face_part == head.part_names.index(part)
        middle = vertices[mask[part]].mean(0)
        outward = ((centre - middle) * normals).sum(-1)[own] > 0
        assert outward.float().mean() > (0.85 if part == "skin" else 0.999), part  # nostrils and ears fold inward


def test_adult_measures(head):
    """Anthropometry of random people in millimetres; real adults: 63 +- 3.5, 12 and 51 +- 4."""
    shapes = random_shapes(200)
    joints, points = head.joints(face(shapes)), head(face(shapes)).landmarks["ibug68"]
    vertices = head(face(shapes)).vertices
    pupils = (joints[:, 3] - joints[:, 4]).norm(dim=-1) * 1e3
    assert pupils.mean() == pytest.approx(63.5, abs=2)
    ball = vertices[:, head.vertex_masks["eye_left"]]
    radius = (ball - joints[:, 3:4]).norm(dim=-1) * 1e3
    assert radius.mean() == pytest.approx(12.0, abs=0.3)
    assert (radius.max(1).values - radius.min(1).values).max() < 0.1  # a sphere, for everybody
    mouth = (points[:, 54] - points[:, 48]).norm(dim=-1) * 1e3
    assert mouth.mean() == pytest.approx(50, abs=4)


def test_jaw_opens_downwards(head):
    pose = torch.tensor([[math.radians(15), 0.0, 0.0]])
    closed, opened = head(face()), head(face(jaw_pose=pose))
    chin = opened.landmarks["ibug68_static"][0, 8] - closed.landmarks["ibug68_static"][0, 8]
    assert chin[1] < -0.015
    assert abs(chin[0]) < 1e-4
    gap = opened.landmarks["ibug68"][0, 62, 1] - opened.landmarks["ibug68"][0, 66, 1]
    assert gap > 0.012
    skull = head.vertex_masks["teeth_upper"] | head.vertex_masks["forehead"] | head.vertex_masks["scalp"]
    assert (opened.vertices - closed.vertices)[0, skull].norm(dim=-1).max() < 5e-4  # jawOpen pulls the temples a little


def test_jaw_angle_equals_jaw_open(head):
    assert math.degrees(head.jaw_open_angle) == pytest.approx(20.7, abs=0.05)
    rotated = head(face(jaw_pose=torch.tensor([[head.jaw_open_angle, 0.0, 0.0]]))).vertices
    shaped = head(face(expression=activate(jawOpen=1.0))).vertices
    assert (rotated - shaped).norm(dim=-1).max() < 5e-5  # float16 modes and correctives


def lid_gaps(points, side):
    upper, lower = ((37, 38), (41, 40)) if side == "right" else ((43, 44), (47, 46))
    return (points[:, upper, 1] - points[:, lower, 1]).mean(1)


def test_blink_closes_the_eyes_of_100_people(head):
    shapes = random_shapes(100)
    opened = head(face(shapes)).landmarks["ibug68"]
    blink = activate(100, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    closed = head(face(shapes, expression=blink)).landmarks["ibug68"]
    for side in ("left", "right"):
        assert lid_gaps(opened, side).min() > 0.003
        gaps = lid_gaps(closed, side)
        assert gaps.mean() < -0.0025
        assert gaps.max() < 0


def test_wink_is_one_sided(head):
    still, wink = head(face()), head(face(expression=activate(eyeBlinkLeft=1.0)))
    assert lid_gaps(wink.landmarks["ibug68"], "left") < 0
    moved = (wink.vertices - still.vertices)[0].norm(dim=-1)
    other_side = head.vertex_masks["skin"] & (still.vertices[0, :, 0] < -0.01)
    assert moved[other_side].max() < 1e-6


@pytest.mark.parametrize(
    "activations",
    [
        dict.fromkeys(("eyeSquintLeft", "cheekSquintLeft"), 1.0),
        dict.fromkeys(("noseSneerLeft", "eyeSquintLeft", "browDownLeft"), 1.0),
        dict.fromkeys(("mouthSmileLeft", "cheekSquintLeft", "eyeSquintLeft"), 0.9),
    ],
)
def test_eyeball_never_comes_through_the_lids(head, activations):
    """Lid skin outside the eye opening stays outside the ball on 100 random people."""
    shapes = random_shapes(100, seed=3)
    vertices = head(face(shapes, expression=activate(100, **activations))).vertices
    centre = head.joints(face(shapes))[:, 3:4]
    radius = (vertices[:, head.vertex_masks["eye_left"]] - centre).norm(dim=-1).mean(1, keepdim=True)
    offset = vertices - centre
    # the visible lids: at least one ring outside the rim that tucks behind the lid's edge, in front of the ball
    near_rim = rings_around(head, head.vertex_masks["lid_rim_left"], 2)
    lids = head.vertex_masks["eyelids"] & ~near_rim & (head(face()).vertices[0, :, 0] > 0)
    in_front = offset[:, lids, 2] > 0.3 * radius
    depth = radius - offset[:, lids].norm(dim=-1)
    assert (depth * in_front).max() < 0.0003


def rings_around(head, mask, count):
    for _ in range(count):
        touched = mask[head.faces].any(1)
        mask = mask.clone()
        mask[head.faces[touched].flatten()] = True
    return mask


def test_gaze_moves_the_iris(head):
    left = math.radians(20)
    pose = torch.tensor([[0.0, left, 0.0, 0.0, left, 0.0]])
    still, turned = (head(face(eye_pose=p)).landmarks["mediapipe478"][0] for p in (None, pose))
    moved = turned - still
    for centre in (468, 473):
        assert moved[centre, 0] == pytest.approx(0.012 * math.sin(left), rel=0.05)
    assert moved[:468].norm(dim=-1).max() < 1e-6
    down = head(face(eye_pose=torch.tensor([[0.3, 0, 0, 0.3, 0, 0]]))).landmarks["mediapipe478"][0]
    assert down[468, 1] < still[468, 1] - 0.003


def test_iris_points_lie_on_the_limbus(head):
    points = head(face()).landmarks["mediapipe478"][0]
    for first in (468, 473):
        ring = points[first + 1 : first + 5] - points[first]
        assert ring[:, :2].norm(dim=-1) == pytest.approx(torch.full((4,), 0.0059), abs=3e-4)
        assert ring[0, 0] > 0.005  # image right, top, left, bottom for a face that looks at the camera
        assert ring[1, 1] > 0.005
    assert points[468, 0] < 0 < points[473, 0]  # the subject's right eye first


def test_looks_stand_for_eye_rotations(head):
    gaze = head.gaze_of_expression(activate(eyeLookUpLeft=1.0, eyeLookOutRight=0.5))
    assert -0.35 < gaze[0, 0] < -0.1  # up is negative pitch
    assert gaze[0, 3] == pytest.approx(0, abs=0.03)
    assert -0.3 < gaze[0, 4] < -0.05  # the right eye turns to the subject's right
    assert gaze[0, [2, 5]].abs().max() == 0


def test_landmarks_are_where_they_should_be(head):
    points = head(face()).landmarks
    assert {name: tuple(value.shape[1:]) for name, value in points.items()} == {
        "ibug68": (68, 3),
        "ibug68_static": (68, 3),
        "mediapipe478": (478, 3),
    }
    p = points["ibug68"][0]
    assert p[30, 2] == p[:, 2].max()  # nose tip
    assert p[8, 1] == p[:, 1].min()  # chin
    assert p[0, 0] < p[16, 0]  # the subject's right comes first
    assert (torch.diff(p[36:42:3, 0]) > 0).all()
    mirrored = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39]
    mirrored += [38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    assert (p - p[mirrored] * torch.tensor([-1.0, 1.0, 1.0])).norm(dim=-1).max() < 1.5e-3


@pytest.mark.parametrize("yaw", [-39, -25, -10, 10, 25, 39])
def test_contour_is_the_silhouette_on_the_far_side(head, yaw):
    """No skin of the face reaches further out than the contour, seen from the front, between eyes and chin."""
    pose = torch.tensor([[0.0, math.radians(yaw), 0.0]])
    geometry = head(face(global_pose=pose))
    far = geometry.landmarks["ibug68"][0, 9:17] if yaw > 0 else geometry.landmarks["ibug68"][0, :8].flip(0)
    sign = 1 if yaw > 0 else -1
    skin = geometry.vertices[0][head.vertex_masks["cheeks"] | head.vertex_masks["chin"]]
    contour = np.interp(skin[:, 1].numpy(), far[:, 1].numpy(), sign * far[:, 0].numpy())
    inside = (skin[:, 1] > far[1, 1]) & (skin[:, 1] < far[-1, 1])
    beyond = (sign * skin[:, 0].numpy() - contour)[inside.numpy()]
    # the chin's points sit on its edge, which follows the jaw, 2-3 mm above the lowest skin that is seen
    assert beyond.max() < 3.5e-3
    assert beyond.max() > -1.5e-3
    assert (geometry.landmarks["ibug68"][0, 17:] - geometry.landmarks["ibug68_static"][0, 17:]).abs().max() == 0


def test_contour_of_opposite_yaws_is_mirrored(head):
    pose = torch.tensor([[0.0, math.radians(30), 0.0], [0.0, -math.radians(30), 0.0]])
    a, b = head(face(count=2, global_pose=pose)).landmarks["ibug68"][:, :17]
    assert (a - b.flip(0) * torch.tensor([-1.0, 1.0, 1.0])).norm(dim=-1).max() < 1e-3


def test_masks_cover(head):
    masks = head.vertex_masks
    vertices = head(face()).vertices[0]
    parts = ("skin", "mouth_cavity", "tongue", "eye_left", "eye_right", "conjunctiva_left", "conjunctiva_right")
    parts += ("teeth_upper", "teeth_lower", "gums_upper", "gums_lower")
    assert torch.stack([masks[name] for name in parts]).any(0).all()
    regions = ("nose", "scalp", "brows", "eye_region", "mouth_region", "forehead", "chin", "cheeks", "lips", "ears")
    for name in regions:
        assert masks[name].sum() >= 40, name
        assert (masks[name] & ~masks["skin"]).sum() == 0, name
        assert abs(vertices[masks[name], 0].mean()) < 2e-3, name
    disjoint = ("nose", "scalp", "brows", "forehead", "chin", "cheeks")
    assert torch.stack([masks[name] for name in disjoint]).sum(0).max() == 1
    nose_tip = vertices[:, 2].argmax()
    assert masks["nose"][nose_tip]
    assert masks["scalp"][vertices[:, 1].argmax()]


def test_mediapipe_points_can_be_left_out():
    small = OpenHead(OpenHead.Params(texture_size=16, mediapipe_landmarks=False))
    assert set(small(face()).landmarks) == {"ibug68", "ibug68_static"}


def test_skinning_weights_and_atlas(head):
    torch.testing.assert_close(head.skinning_weights.sum(1), torch.ones(len(head.skinning_weights)))
    assert head.skinning_weights.min() >= 0
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1
    corner = head.uv[head.uv_faces]
    a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    skin = head.face_part == head.part_names.index("skin")
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])[skin]
    assert (area > 0).all() or (area < 0).all()  # no triangle is turned over


def test_neck_turns_the_head_and_global_pose_everything(head):
    turn = torch.tensor([[0.0, 0.3, 0.0]])
    still, neck, everything = head(face()), head(face(neck_pose=turn)), head(face(global_pose=turn))
    rigid = head.vertex_masks["nose"]
    moved = (neck.vertices - still.vertices)[0].norm(dim=-1)
    assert moved[rigid].min() > 0.01
    assert moved[still.vertices[0, :, 1].argmin()] < 0.005
    root = head.joints(face())[0, 0]
    distance = (everything.vertices - root).norm(dim=-1) - (still.vertices - root).norm(dim=-1)
    assert distance.abs().max() < 1e-5


def test_gradients_reach_every_block(head):
    sizes = {name: size for name, size in head.blocks.items() if name != "albedo"}
    blocks = {name: (torch.zeros(2, size)).requires_grad_() for name, size in sizes.items()}
    geometry = head(FaceParameters(**blocks))
    generator = torch.Generator().manual_seed(0)
    (geometry.vertices * torch.randn(geometry.vertices.shape, generator=generator)).sum().backward()
    for name, block in blocks.items():
        assert torch.isfinite(block.grad).all(), name
        assert (block.grad != 0).any(1).all(), name


def test_gradient_equals_finite_differences(head):
    double = OpenHead(OpenHead.Params(shape_size=5, texture_size=16)).double()
    generator = torch.Generator().manual_seed(1)
    sizes = {"shape": 5, "expression": 52, "global_pose": 3, "neck_pose": 3, "jaw_pose": 3, "eye_pose": 6}
    inputs = tuple(0.2 * torch.randn(1, size, generator=generator, dtype=torch.float64) for size in sizes.values())
    probe = torch.randn(478, 3, generator=generator, dtype=torch.float64)

    def project(*blocks):
        points = double(FaceParameters(**dict(zip(sizes, blocks, strict=True)))).landmarks["mediapipe478"]
        return (points * probe).sum()

    assert torch.autograd.gradcheck(project, [x.requires_grad_() for x in inputs])


def test_double_precision_agrees_with_single(head):
    double = OpenHead(OpenHead.Params(texture_size=16)).double()
    shapes = random_shapes(3)
    pose = 0.2 * torch.randn(3, 3, generator=torch.Generator().manual_seed(2))
    single = head(face(shapes, jaw_pose=pose)).vertices
    precise = double(face(shapes.double(), jaw_pose=pose.double())).vertices
    assert precise.dtype == torch.float64
    assert (single - precise).abs().max() < 2e-6


def test_faces_of_a_batch_do_not_influence_each_other(head):
    shapes, expression = random_shapes(4), torch.rand(4, 52, generator=torch.Generator().manual_seed(5))
    together = head(face(shapes, expression=expression)).vertices
    alone = torch.cat([head(face(shapes[i : i + 1], expression=expression[i : i + 1])).vertices for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_short_blocks_are_padded_and_long_ones_refused(head):
    code = random_shapes(1)
    padded = torch.cat([code[:, :20], torch.zeros(1, 80)], 1)
    assert torch.equal(head(face(code[:, :20])).vertices, head(face(padded)).vertices)
    with pytest.raises(ValueError, match="shape has 100 numbers in this model, got 101"):
        head(face(torch.zeros(1, 101)))
    with pytest.raises(ValueError, match="shape_size must be 1 to 100"):
        OpenHead(OpenHead.Params(shape_size=0))


@pytest.mark.parametrize("name", sorted(emotion_prototypes()))
def test_emotions_are_parameters(head, name):
    strong, none = head(head.emotion(name)).vertices, head(head.emotion(name, 0.0)).vertices
    assert torch.equal(none, head(face()).vertices)
    assert ((strong - none).norm(dim=-1).max() > 2e-3) == (name != "neutral")


def test_semantic_shape(head):
    man, woman = head.semantic_shape(gender=0.0), head.semantic_shape(gender=1.0)
    assert (man - woman).norm() > 1
    width = [head(face(code)).landmarks["ibug68_static"][0, [4, 12], 0].diff().item() for code in (man, woman)]
    assert width[0] > width[1]  # men's jaws are wider
    with pytest.raises(UnknownNameError, match="Did you mean 'gender'"):
        head.semantic_shape(gendre=1.0)


def test_the_head_for_landmarks_is_small_and_moves_as_the_whole(head):
    small, code = head.for_landmarks(), face(torch.randn(2, 100), jaw_pose=torch.tensor([[0.3, 0.0, 0.0]] * 2))
    turned = code.replace(global_pose=torch.tensor([[0.0, 0.5, 0.0], [0.0, -0.7, 0.1]]))
    leaves = [torch.zeros(2, 52, requires_grad=True) for _ in range(2)]
    points = [model(turned.replace(expression=leaf)).landmarks for model, leaf in zip((head, small), leaves)]  # noqa: B905
    for name, expected in points[0].items():
        torch.testing.assert_close(points[1][name], expected, atol=1e-6, rtol=0)
    for each in points:
        each["mediapipe478"].square().sum().backward()
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad, atol=1e-5, rtol=1e-4)
    assert int(small.faces.max()) + 1 < 0.3 * (int(head.faces.max()) + 1)
    assert head.uv is not None and int(head.faces.max()) > 5000, "the whole is as it was"
