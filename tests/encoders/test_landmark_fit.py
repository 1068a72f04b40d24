"""landmark_fit on rendered faces whose codes are known, on a toy model, and on bad input."""

import math
from functools import cache

import pytest
import torch
from white_light import white_light

from emoca_core.errors import EmocaError, RecipeError
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Albedo, FaceCrop, FaceGeometry, FaceModel, FaceParameters, Parts, PerspectiveCamera
from emoca_core.rendering.face import render_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.landmark_fit import encoder, photometric
from emoca_plugins.encoders.landmark_fit.derivatives import derivatives_along
from emoca_plugins.encoders.landmark_fit.encoder import LandmarkFit
from emoca_plugins.encoders.landmark_fit.solver import Sharing
from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.renderers.zbuffer import ZBuffer

SIZE = 224
SMILE = [ARKIT_NAMES.index("mouthSmileLeft"), ARKIT_NAMES.index("mouthSmileRight")]
BLINK = ARKIT_NAMES.index("eyeBlinkLeft")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small tensors on a busy machine: threads that wait for each other cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def _head() -> OpenHead:
    return OpenHead(OpenHead.Params(texture_size=128))


def _fitter(**params) -> LandmarkFit:
    fitter = LandmarkFit(LandmarkFit.Params(**params))
    fitter.attach(Parts(_head(), ZBuffer()))
    return fitter


@cache
def _geometry_fitter() -> LandmarkFit:
    return _fitter(appearance=False)


def _true_parameters(faces: int = 4) -> FaceParameters:
    """Face 0 smiles, 1 opens the mouth, 2 winks with the left eye, 3 looks to its left; all of them turned."""
    generator = torch.Generator().manual_seed(3)
    expression = torch.zeros(faces, 52)
    expression[0, SMILE] = 0.9
    expression[2, BLINK] = 1.0
    jaw, eyes = torch.zeros(faces, 3), torch.zeros(faces, 6)
    jaw[1, 0] = 0.35
    eyes[3, [1, 4]] = 0.3
    pose = torch.tensor([[0.0, 0.1, 0.0], [0.15, -0.3, 0.05], [-0.1, 0.0, -0.1], [0.05, 0.6, 0.1]])
    return FaceParameters(
        shape=0.7 * torch.randn(faces, 100, generator=generator),
        expression=expression,
        global_pose=pose[:faces],
        jaw_pose=jaw,
        eye_pose=eyes,
        camera=_camera(faces),
    )


def _camera(faces: int) -> PerspectiveCamera:
    """That which landmark_fit assumes of a crop that is its own photo."""
    focal = torch.full((faces, 2), 2 * math.sqrt(2))
    return PerspectiveCamera(focal, torch.zeros(faces, 2), torch.tensor([0.0, 0.01, 0.75]).expand(faces, 3))


@cache
def _crop() -> FaceCrop:
    """Exact landmarks of ``_true_parameters``, over grey pictures."""
    true = _true_parameters()
    landmarks = _project(_head()(true), true.camera)
    return FaceCrop(torch.full((4, 3, SIZE, SIZE), 0.5), {"mediapipe478": landmarks["mediapipe478"]})


@cache
def _fitted() -> FaceParameters:
    return _geometry_fitter()(_crop())


def _project(geometry: FaceGeometry, camera: PerspectiveCamera) -> dict[str, torch.Tensor]:
    return {name: camera.project(points)[..., :2] for name, points in geometry.landmarks.items()}


def _error(parameters: FaceParameters, crop: FaceCrop, name: str = "mediapipe478") -> torch.Tensor:
    """Mean distance of the fitted landmarks from the crop's, as a fraction of the distance of the outer eye corners."""
    found, true = _project(_head()(parameters), parameters.camera)[name], crop.landmarks[name]
    corners = (33, 263) if name == "mediapipe478" else (36, 45)
    between = (true[:, corners[0]] - true[:, corners[1]]).norm(dim=-1)
    return (found - true).norm(dim=-1).mean(1) / between


def test_exact_landmarks_are_explained():
    assert _error(_fitted(), _crop()).max() < 0.01  # the regularisation alone keeps it from 0


def test_the_jacobian_is_the_derivative_of_the_weighted_residuals(monkeypatch):
    """Of points, and of the gaps of lids and lips, where the directions are those of the face itself."""
    calls = []

    def watched(x, residuals, jacobian, *others, **settings):
        calls.append((x, residuals, jacobian))
        return x

    monkeypatch.setattr(encoder, "levenberg_marquardt", watched)
    _fitter(appearance=False, refinements=1)(_crop().map(lambda t: t[1:3]))
    x, residuals, jacobian = calls[1]
    along = torch.eye(x.shape[1])
    expected = derivatives_along(residuals, x, along, at_once=1).permute(1, 0, 2, 3)
    weight = torch.rand(2, expected.shape[-1], generator=torch.Generator().manual_seed(0))
    expected = expected * weight[:, None, None]
    assert expected.shape[-1] == 262 + 14 + 9
    size = expected.abs().amax((2, 3), keepdim=True).clamp_min(1e-3)  # the tongue moves no landmark
    with torch.no_grad():
        found = jacobian(x, weight)
    torch.testing.assert_close(found / size, expected / size, atol=2e-3, rtol=0)


def test_pose_and_place_are_recovered():
    true = _true_parameters()
    turned = rotation_vector_to_matrix(_fitted().global_pose).mT @ rotation_vector_to_matrix(true.global_pose)
    angle = torch.acos(((turned.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert torch.rad2deg(angle).max() < 5
    # depth and size of a head are told apart by perspective alone
    torch.testing.assert_close(_fitted().camera.translation[:, 2], true.camera.translation[:, 2], rtol=0.12, atol=0)


def test_expressions_are_told_apart():
    smile, jaw = _fitted().expression[:, SMILE].mean(1), _fitted().jaw_pose[:, 0]
    assert smile[0] > 0.5
    assert smile[1:].max() < 0.3
    assert jaw[1] > 0.2
    assert jaw[[0, 2, 3]].max() < 0.12
    blink = _fitted().expression[:, BLINK]
    assert blink[2] > 0.6
    assert blink[[0, 1, 3]].max() < 0.3
    yaw = _fitted().eye_pose[:, [1, 4]].mean(1)
    assert yaw[3] == pytest.approx(0.3, abs=0.12)
    assert yaw[:2].abs().max() < 0.12


def test_activations_stay_in_range_and_the_jaw_is_the_joint():
    expression = _fitted().expression
    assert expression.min() >= 0
    assert expression.max() <= 1
    assert float(expression[:, ARKIT_NAMES.index("jawOpen")].abs().max()) == 0
    assert _fitted().unit_of("expression") == "activation"


def test_jaw_coefficients_instead_of_the_joint():
    found = _fitter(appearance=False, jaw="coefficients")(_crop())
    assert found.jaw_pose is None
    assert found.expression[1, ARKIT_NAMES.index("jawOpen")] > 0.6


def test_scores_decide_what_landmarks_leave_open():
    scores = torch.zeros(4, 52)
    puffed = ARKIT_NAMES.index("cheekPuff")
    scores[:, puffed] = 0.6
    crop = _crop()
    found = _geometry_fitter()(FaceCrop(crop.image, crop.landmarks, scores))
    assert bool((found.expression[:, puffed] > _fitted().expression[:, puffed] + 0.1).all())


def test_a_batch_gives_what_its_faces_give_alone():
    crop = _crop()
    for i in (0, 3):
        alone = _geometry_fitter()(crop.map(lambda t, i=i: t[i : i + 1]))
        # single precision, other orders of summation; identity is the least determined
        torch.testing.assert_close(alone.expression[0], _fitted().expression[i], atol=5e-3, rtol=0)
        torch.testing.assert_close(alone.shape[0], _fitted().shape[i], atol=2e-2, rtol=0)


def test_it_is_deterministic_and_ignores_the_callers_grad_mode():
    crop = _crop().map(lambda t: t[:2])
    with torch.inference_mode():
        first = _geometry_fitter()(crop.map(torch.clone))
    second = _geometry_fitter()(crop)
    assert torch.equal(first.expression, second.expression)
    assert not second.expression.requires_grad


def test_photos_of_one_person_share_their_identity():
    true = _true_parameters()
    true = true.replace(shape=true.shape[:1].expand(4, -1))
    landmarks = _project(_head()(true), true.camera)
    image = torch.full((4, 3, SIZE, SIZE), 0.5)
    crop = FaceCrop(image, {"mediapipe478": landmarks["mediapipe478"]}, identity=torch.tensor([5, 5, 5, 2]))
    found = _geometry_fitter()(crop)
    assert torch.equal(found.shape[0], found.shape[1])
    assert torch.equal(found.shape[0], found.shape[2])
    assert not torch.equal(found.shape[0], found.shape[3])
    assert _error(found, crop).max() < 0.015
    # several views say more of a person than one
    alone = _geometry_fitter()(crop.map(lambda t: t[2:3]))
    template = _head()(FaceParameters(shape=torch.zeros(1, 100))).vertices

    def distance(shape: torch.Tensor) -> float:
        face = _head().vertex_masks["face"]
        vertices = _head()(FaceParameters(shape=torch.stack([shape, true.shape[0]]))).vertices[:, face]
        centred = vertices - vertices.mean(1, keepdim=True)
        scaled = centred / centred.square().mean((1, 2), keepdim=True).sqrt() * template.std()
        return float((scaled[0] - scaled[1]).norm(dim=-1).mean())

    assert distance(found.shape[0]) < distance(alone.shape[0]) * 1.05


@pytest.mark.parametrize("labels", [[5, 2, 5, 5], [1, 1, 1, 1]])
def test_the_albedo_of_a_person_is_painted_once_and_seen_in_all_photos(labels, monkeypatch):
    picture = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    crop = FaceCrop(picture, _crop().landmarks, identity=torch.tensor(labels))
    fitter, painted, albedo = _fitter(), [], OpenHead.albedo

    def watched(self: OpenHead, parameters: FaceParameters) -> Albedo:
        painted.append(len(parameters))
        return albedo(self, parameters)

    monkeypatch.setattr(OpenHead, "albedo", watched)
    found = fitter(crop)
    assert max(painted) == len(set(labels))

    def every_face(model: FaceModel, code: torch.Tensor, sharing: Sharing) -> photometric._Surface:
        return photometric._Surface(texture=albedo(model, FaceParameters(albedo=code)).texture)

    monkeypatch.setattr(photometric, "_painted", every_face)
    expected = fitter(crop)
    torch.testing.assert_close(found.albedo, expected.albedo, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.lighting, expected.lighting, atol=1e-3, rtol=0)
    people = [labels.index(label) for label in labels]
    assert torch.equal(found.albedo, found.albedo[people])
    assert len(found.albedo.unique(dim=0)) == len(set(labels))


def test_the_exported_camera_is_that_of_the_whole_photo():
    """The crop's landmarks carried to the photo are what the photo's camera sees."""
    crop = _crop().map(lambda t: t[:1])
    angle = 0.3
    to_image = torch.tensor(
        [
            [
                [2 * math.cos(angle), -2 * math.sin(angle), 90.0],
                [2 * math.sin(angle), 2 * math.cos(angle), 40.0],
                [0, 0, 1],
            ]
        ]
    )
    placed = FaceCrop(crop.image, crop.landmarks, crop_to_image=to_image, photo_size=torch.tensor([[900, 1200]]))
    found = _geometry_fitter()(placed)
    points = _head()(found).landmarks["mediapipe478"][0]
    homogeneous = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    in_photo = homogeneous @ (to_image[0] @ found.camera.matrix((SIZE, SIZE))[0]).T
    in_photo = in_photo[:, :2] / in_photo[:, 2:]
    detected = (crop.landmarks["mediapipe478"][0] + 1) * SIZE / 2 - 0.5
    expected = detected @ to_image[0, :2, :2].T + to_image[0, :2, 2]
    assert (in_photo - expected).norm(dim=1).mean() < 2.5
    whole = (to_image[0] @ found.camera.intrinsics_px((SIZE, SIZE))[0])[:2, 2]
    torch.testing.assert_close(whole, torch.tensor([599.5, 449.5]), atol=0.05, rtol=0)


def test_light_and_albedo_explain_the_picture():
    true = _true_parameters().map(lambda t: t[:2])
    code = torch.zeros(2, _head().blocks["albedo"])
    code[:, 0] = torch.tensor([1.2, -1.0])  # a light and a dark face
    lighting = white_light(2, code, 0.7)
    lighting[:, 3] += 0.3
    lighting[0, 1] += 0.2
    true = true.replace(albedo=code, lighting=lighting)
    geometry = _head()(true)
    size = (SIZE, SIZE)
    rendered = render_face(ZBuffer(), _head(), geometry, true.camera, _head().albedo(true), lighting, size, facing=True)
    crop = FaceCrop(rendered.image.clamp(0, 1), {"mediapipe478": _project(geometry, true.camera)["mediapipe478"]})
    found = _fitter()(crop)
    again = render_face(ZBuffer(), _head(), _head()(found), found.camera, _head().albedo(found), found.lighting, size)
    face = (rendered.mask * again.mask * (rendered.facing_mask > 0)).bool().expand(-1, 3, -1, -1)
    difference = (again.image - crop.image).abs()
    for i in range(2):
        assert difference[i][face[i]].mean() < 0.04
    assert found.albedo[0, 0] > found.albedo[1, 0] + 0.8
    side = found.lighting[:, 1].mean(-1)
    assert side[0] > side[1] + 0.05


class _Blob(FaceModel):
    """A model with nothing but a point cloud: 3 shapes, 2 unnamed expressions, a pose and 68 points."""

    def __init__(self, landmark_set: str = "ibug68", blocks=None):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.points = 0.05 * torch.randn(68, 3, generator=generator)
        self.modes = 0.01 * torch.randn(5, 68, 3, generator=generator)
        self.faces = torch.tensor([[0, 1, 2]])
        self.blocks = blocks or {"shape": 3, "expression": 2, "global_pose": 3}
        self.landmark_set = landmark_set

    def forward(self, parameters):
        count = len(parameters)
        code = [
            torch.zeros(count, size) if value is None else value
            for value, size in ((parameters.shape, 3), (parameters.expression, 2))
        ]
        points = self.points + torch.einsum("bk,knd->bnd", torch.cat(code, 1), self.modes)
        if parameters.global_pose is not None:
            points = points @ rotation_vector_to_matrix(parameters.global_pose).mT
        return FaceGeometry(points, {self.landmark_set: points})


def _blob_crop(model: _Blob, code: torch.Tensor) -> FaceCrop:
    posed = model(FaceParameters(shape=code[:, :3], expression=code[:, 3:5], global_pose=code[:, 5:]))
    return FaceCrop(torch.zeros(len(code), 3, 64, 64), {"ibug68": _camera(len(code)).project(posed.vertices)[..., :2]})


def test_any_model_with_landmarks_works():
    model, fitter = _Blob(), LandmarkFit(LandmarkFit.Params(iterations=30))
    fitter.attach(Parts(model, ZBuffer()))
    code = torch.tensor([[0.5, -0.8, 0.2, 0.6, -0.4, 0.1, 0.3, 0.0], [0.0, 0.1, -0.5, -1.0, 0.3, 0.0, -0.5, 0.2]])
    crop = _blob_crop(model, code)
    found = fitter(crop)
    assert found.jaw_pose is None
    assert found.albedo is None
    assert {name: block.shape[1] for name, block in found.blocks().items()} == dict(fitter.blocks)
    assert found.unit_of("expression") == "sigma"
    seen = found.camera.project(model(found).vertices)[..., :2]
    assert (seen - crop.landmarks["ibug68"]).abs().max() < 0.03
    torch.testing.assert_close(found.global_pose, code[:, 5:], atol=0.1, rtol=0)
    refined = LandmarkFit(LandmarkFit.Params(refinements=1, iterations=30))
    refined.attach(Parts(model, ZBuffer()))
    torch.testing.assert_close(refined(crop).expression, found.expression, atol=0.02, rtol=0)


def test_parts_are_not_registered_twice():
    assert dict(_geometry_fitter().named_modules()).keys() == {""}
    assert _geometry_fitter().state_dict() == {}


def test_missing_points_are_ignored():
    crop = _crop().map(lambda t: t[:1].clone())
    crop.landmarks["mediapipe478"][:, 5:120] = torch.nan
    found = _geometry_fitter()(crop)
    assert _error(found, _crop().map(lambda t: t[:1])).max() < 0.02


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda points: torch.full_like(points, torch.nan), "face 1 of the batch has 0 finite landmarks"),
        (lambda points: torch.zeros_like(points), "landmarks of face 1 of the batch span"),
        (lambda points: points * 1e9, "landmarks of face 1 of the batch span"),
    ],
)
def test_unusable_landmarks_are_refused_by_face(spoil, message):
    crop = _crop().map(lambda t: t[:2].clone())
    crop.landmarks["mediapipe478"][1] = spoil(crop.landmarks["mediapipe478"][1])
    with pytest.raises(EmocaError, match=message):
        _geometry_fitter()(crop)


def test_what_it_cannot_use_is_said_at_once():
    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(EmocaError, match="none in common"):
        _geometry_fitter()(FaceCrop(image))
    with pytest.raises(EmocaError, match="has 70 points and should have 68"):
        _geometry_fitter()(FaceCrop(image, {"ibug68": torch.zeros(1, 70, 2)}))
    with pytest.raises(RecipeError, match="attach"):
        LandmarkFit()(FaceCrop(image))
    with pytest.raises(RecipeError, match="ibug68"):
        LandmarkFit().attach(Parts(_Blob(landmark_set="other"), ZBuffer()))
    with pytest.raises(RecipeError, match="global_pose"):
        LandmarkFit().attach(Parts(_Blob(blocks={"shape": 3}), ZBuffer()))
