"""landmark_fit on a clip of one person whose code is known in every frame."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from white_light import white_light

from emoca_core.interfaces import FaceCrop, FaceParameters, Parts, PerspectiveCamera
from emoca_core.rendering.face import render_face
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.landmark_fit import encoder
from emoca_plugins.encoders.landmark_fit.encoder import LandmarkFit
from emoca_plugins.encoders.landmark_fit.unknowns import Unknowns
from emoca_plugins.face_models.open_head import OpenHead
from emoca_plugins.renderers.zbuffer import ZBuffer

FRAMES, SIZE = 40, 224
PERSON = slice(0, FRAMES, 6)


@cache
def _head() -> OpenHead:
    return OpenHead(OpenHead.Params(texture_size=128))


def _fitter(**params) -> LandmarkFit:
    fitter = LandmarkFit(LandmarkFit.Params(**params))
    fitter.attach(Parts(_head(), ZBuffer()))
    return fitter


@cache
def _true() -> FaceParameters:
    """A head that looks about, talks, smiles and blinks, near the camera."""
    random, t = torch.Generator().manual_seed(1), torch.linspace(0, 6, FRAMES)
    expression = torch.zeros(FRAMES, 52)
    for name, values in (
        ("mouthSmileLeft", 0.4 - 0.4 * t.cos()),
        ("mouthSmileRight", 0.4 - 0.4 * t.cos()),
        ("eyeBlinkLeft", (3 * (t * 2).sin() - 2).clamp(0, 1)),
        ("eyeBlinkRight", (3 * (t * 2).sin() - 2).clamp(0, 1)),
    ):
        expression[:, ARKIT_NAMES.index(name)] = values
    zero = torch.zeros_like(t)
    place = torch.stack([0.02 * t.sin(), 0.01 + zero, 0.75 + 0.03 * t.cos()], 1)
    return FaceParameters(
        shape=0.8 * torch.randn(1, 100, generator=random).expand(FRAMES, 100),
        expression=expression,
        global_pose=torch.stack([0.1 * (2 * t).cos(), 0.6 * t.sin(), 0.05 * t.cos()], 1),
        jaw_pose=torch.stack([0.15 - 0.15 * (5 * t).cos(), zero, zero], 1),
        eye_pose=torch.zeros(FRAMES, 6),
        albedo=0.5 * torch.randn(1, _head().blocks["albedo"], generator=random).expand(FRAMES, -1),
        lighting=(0.75 + 0.25 * t.cos())[:, None, None] * white_light(FRAMES, t),
        camera=PerspectiveCamera(torch.full((FRAMES, 2), 2 * math.sqrt(2)), torch.zeros(FRAMES, 2), place),
        units={"expression": "activation"},
    )


@cache
def _crop() -> FaceCrop:
    """Landmarks with the noise of a landmarker, over pictures."""
    true = _true()
    geometry = _head()(true)
    picture = render_face(
        ZBuffer(), _head(), geometry, true.camera, _head().albedo(true), true.lighting, (SIZE, SIZE)
    ).image.clamp(0, 1)
    points = true.camera.project(geometry.landmarks["mediapipe478"])[..., :2]
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(2))
    return FaceCrop(picture, {"mediapipe478": points + 0.004 * noise})


def _some(crop: FaceCrop, rows: slice) -> FaceCrop:
    return crop.map(lambda tensor: tensor[rows])


@cache
def _found() -> tuple[FaceParameters, FaceParameters]:
    fitter = _fitter()
    person = fitter.encode_person(_some(_crop(), PERSON))
    return person, fitter.encode_frames(_crop(), person)


def _vertex_error(code: FaceParameters) -> float:
    """Mean distance of the face in the head's own axes, millimetres; of equal size, which a picture does not tell."""
    still, face = torch.zeros_like(code.global_pose), _head().vertex_masks["face"]
    found, true = (_head()(each.replace(global_pose=still)).vertices[:, face] for each in (code, _true()))
    found, true = found - found.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
    size = (found * true).sum((1, 2)) / found.square().sum((1, 2))
    return 1000 * float((size[:, None, None] * found - true).norm(dim=-1).mean())


def test_frames_have_one_person_and_are_nearer_to_the_truth_than_alone():
    person, frames = _found()
    assert person.shape.shape == (1, 100) and person.albedo.shape == (1, _head().blocks["albedo"])
    assert torch.equal(frames.shape, person.shape.expand(FRAMES, -1))
    assert torch.equal(frames.albedo, person.albedo.expand(FRAMES, -1))
    assert {name: block.shape[1] for name, block in frames.blocks().items()} == dict(_fitter().blocks)
    alone = _fitter(appearance=False)(_crop())
    assert _vertex_error(frames) < 0.9 * _vertex_error(alone)
    smile, blink = (ARKIT_NAMES.index(name) for name in ("mouthSmileLeft", "eyeBlinkLeft"))
    for column in (smile, blink):
        pair = torch.stack([frames.expression[:, column], _true().expression[:, column]])
        assert torch.corrcoef(pair)[0, 1] > 0.9


def test_landmarks_of_more_frames_bring_the_person_nearer_to_the_truth():
    few, rest = _some(_crop(), slice(0, 2)), _some(_crop(), slice(2, FRAMES))
    fitter = _fitter(appearance=False)
    person = fitter.encode_person(few), fitter.encode_person(few, rest)
    errors = [_vertex_error(_true().replace(shape=one.shape.expand(FRAMES, -1))) for one in person]
    assert errors[1] < 0.8 * errors[0]


def test_albedo_and_light_come_from_the_frames_with_pixels():
    few, rest = _some(_crop(), PERSON), _some(_crop(), slice(1, FRAMES, 4))
    dark = replace(rest, image=torch.zeros_like(rest.image))
    with_more = [_fitter().encode_person(few, others) for others in (rest, dark)]
    torch.testing.assert_close(with_more[0].albedo, with_more[1].albedo, atol=0, rtol=0)
    brightness = [code.lighting[0, 0].mean() for code in (with_more[1], _found()[0])]
    torch.testing.assert_close(*brightness, atol=0, rtol=0.05)


def test_many_frames_tell_little_more_than_a_photo():
    """A landmarker that always errs in the same way: no number of frames may believe it much more than a photo does."""
    one = _some(_crop(), slice(0, 1))
    away = [
        float(_fitter(appearance=False).encode_person(FaceCrop.cat([one] * count)).shape.norm()) for count in (1, 2, 24)
    ]
    photo = float(_fitter(appearance=False)(one).shape.norm())
    assert away[0] == pytest.approx(photo, rel=1e-3) and away[2] == pytest.approx(away[1], rel=0.02)
    assert 1.0 < away[2] / photo < 1.3  # as 1.6 photos do


def test_every_frame_is_seen_through_one_lens():
    """A face so near that a photo is taken for a cut-out: its lens must not change with every frame."""
    near = replace(_crop(), landmarks={"mediapipe478": 1.5 * _crop().landmarks["mediapipe478"]})
    fitter = _fitter(appearance=False)
    alone, frames = fitter(near), fitter.encode_frames(near, fitter.encode_person(_some(near, PERSON)))
    assert alone.camera.focal.std(dim=0).max() > 0.01
    assert torch.equal(frames.camera.focal, frames.camera.focal[:1].expand(FRAMES, -1))


@pytest.mark.parametrize("longer", [1.0, 2.5])
def test_the_lens_of_a_clip_is_found(longer):
    true = _true()
    place = true.camera.translation * torch.tensor([1.0, 1.0, longer])  # as large in the picture
    camera = PerspectiveCamera(longer * true.camera.focal, true.camera.centre, place)
    geometry = _head()(true)
    points = camera.project(geometry.landmarks["mediapipe478"])[..., :2]
    crop = replace(_crop(), landmarks={"mediapipe478": points})
    fitter = _fitter(appearance=False)
    photos, person = fitter(crop), fitter.encode_person(crop)
    frames = fitter.encode_frames(crop, person)
    assert (photos.camera.focal / true.camera.focal - 1).abs().max() < 0.2, "of a photo it is assumed"
    assert person.others["lens"].item() == pytest.approx(longer, rel=0.25), "held back by what is expected"
    away, expected = (float(each[:, 2].mean()) for each in (frames.camera.translation, place))
    assert away == pytest.approx(expected, rel=0.25)


def test_the_lens_moves_points_as_finite_differences_say():
    unknowns = Unknowns.of(_head().blocks, _head().expression_names, "joint", lens=True)
    assert unknowns.shared == 101 and len(unknowns.directed) == unknowns.size - 4
    crop, found = _some(_crop(), slice(0, 3)), []

    def watched(x, residuals, jacobian, *_, **__):
        x = x + torch.tensor([[0.4] + [0.0] * (x.shape[1] - 1)])
        found.append((x, residuals, jacobian(x, torch.ones_like(residuals(x)[:, 0]))))
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "levenberg_marquardt", watched)
        _fitter(appearance=False).encode_person(crop)
    ((x, residuals, derivatives),) = found
    step, place = 1e-2, unknowns.columns["place"]
    for column in (0, *range(place.start, place.stop)):
        aside = step * torch.eye(unknowns.size)[column]
        difference = (residuals(x + aside) - residuals(x - aside)) / (2 * step)
        assert difference.abs().max() > 1
        # single precision, and the third derivative times the squared step
        torch.testing.assert_close(
            derivatives[:, column], difference, atol=2e-3 * float(difference.abs().max()), rtol=0
        )


def test_frames_need_no_pixels_and_do_not_wait_for_each_other():
    person, frames = _found()
    fitter = _fitter()
    assert not fitter.frames_have_pixels
    black = replace(_crop(), image=torch.zeros(FRAMES, 3, SIZE, SIZE))
    parts = [fitter.encode_frames(_some(black, rows), person) for rows in (slice(0, 17), slice(17, FRAMES))]
    for name, block in FaceParameters.cat(parts).blocks().items():
        torch.testing.assert_close(block, frames.blocks()[name], atol=2e-3, rtol=1e-3)


def test_threads_share_the_frames(monkeypatch):
    person, frames = _found()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    calls, one = [], LandmarkFit._encode_frames
    monkeypatch.setattr(LandmarkFit, "_encode_frames", lambda *args: calls.append(len(args[1])) or one(*args))
    shared = _fitter().encode_frames(_crop(), person)
    assert calls == [FRAMES // 2] * 2
    for name, block in shared.blocks().items():  # as far as rounding decides when a step is small enough
        torch.testing.assert_close(block, frames.blocks()[name], atol=2e-3, rtol=1e-3)


def test_light_of_frames_follows_the_light():
    fitter = _fitter(light_of_frames=True)
    assert fitter.frames_have_pixels
    assert not _fitter(light_of_frames=True, appearance=False).frames_have_pixels
    person, _ = _found()
    frames = fitter.encode_frames(_crop(), person)
    assert torch.equal(frames.albedo, person.albedo.expand(FRAMES, -1))
    brightness = frames.lighting[:, 0].mean(1)
    assert torch.corrcoef(torch.stack([brightness, _true().lighting[:, 0].mean(1)]))[0, 1] > 0.95
    pixels = frames.lighting.std(dim=0)[0].mean()
    assert pixels > 0.1 * brightness.mean(), "it changes"
    with pytest.raises(AssertionError):
        torch.testing.assert_close(_found()[1].lighting, frames.lighting)
