"""Validation measures against NumPy and SciPy."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from emoca_core.interfaces import (
    Capture,
    DetailMaps,
    EmotionPrediction,
    FaceCrop,
    FaceGeometry,
    FaceParameters,
    FaceTruth,
    WeakPerspectiveCamera,
)
from emoca_core.train import validation_figures

B, V = 3, 40


@pytest.fixture
def capture():
    generator = torch.Generator().manual_seed(0)

    def random(*shape, scale=1.0):
        return scale * torch.randn(*shape, generator=generator)

    def face(size):
        code = FaceParameters(
            expression=random(B, size),
            camera=WeakPerspectiveCamera(8 + random(B, scale=0.3), random(B, 2, scale=0.01)),
        )
        return code, FaceGeometry(random(B, V, 3, scale=0.1), {"ibug68": random(B, 68, 3, scale=0.1)})

    code, mesh = face(10)
    return Capture(
        crop=FaceCrop(torch.rand(B, 3, 16, 16, generator=generator), {"ibug68": random(B, 68, 2)}),
        parameters=code,
        geometry=mesh,
        picture=torch.rand(B, 3, 16, 16, generator=generator),
        mask=torch.rand(B, 1, 16, 16, generator=generator),
        truth=FaceTruth(*face(7)),
        detail_maps=DetailMaps(*(torch.rand(B, c, 8, 8, generator=generator) for c in (3, 3, 1, 3))),
        emotion_of_input=EmotionPrediction({"first": random(B, 4, 2, 2), "other": random(B, 5)}),
        emotion_of_rendering=EmotionPrediction({"first": random(B, 4, 2, 2), "other": random(B, 5)}),
    )


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual.numpy(), expected, rtol=tolerance)


def test_landmark_error(capture):
    points, seen = capture.geometry.landmarks["ibug68"].numpy(), capture.crop.landmarks["ibug68"].numpy()
    scale, shift = capture.parameters.camera.scale.numpy(), capture.parameters.camera.translation.numpy()
    projected = scale[:, None, None] * (points[..., :2] + shift[:, None]) * [1, -1]
    distance = np.linalg.norm(projected - seen, axis=-1).mean(1)
    close(validation_figures.landmark_error(capture), distance / np.linalg.norm(seen[:, 36] - seen[:, 45], axis=-1))


def test_photometric_errors(capture):
    a, b, mask = (t.numpy() for t in (capture.picture, capture.crop.image, capture.mask))
    expected = [(np.abs(a[i] - b[i]).mean(0) * mask[i, 0]).sum() / mask[i].sum() for i in range(B)]
    close(validation_figures.photometric_error(capture), expected)
    maps = capture.detail_maps
    a, b, mask = (t.numpy() for t in (maps.texture, maps.observed_texture, maps.visibility))
    expected = [(np.abs(a[i] - b[i]).mean(0) * mask[i, 0]).sum() / mask[i].sum() for i in range(B)]
    close(validation_figures.detail_photometric_error(capture), expected)


def test_an_empty_mask_counts_as_no_error(capture):
    nothing = dataclasses.replace(capture, mask=torch.zeros_like(capture.mask))
    assert validation_figures.photometric_error(nothing).tolist() == [0] * B


def test_emotion_distance_compares_the_default_feature(capture):
    a, b = (e.features["first"].flatten(1).numpy() for e in (capture.emotion_of_input, capture.emotion_of_rendering))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    close(validation_figures.emotion_distance(capture.emotion_of_input, capture.emotion_of_rendering), 1 - cosine)
    same = validation_figures.emotion_distance(capture.emotion_of_input, capture.emotion_of_input)
    assert same.abs().max() < 1e-6


def test_expression_error_takes_absent_coefficients_for_zero(capture):
    a, b = capture.parameters.expression.numpy(), capture.truth.parameters.expression.numpy()
    close(validation_figures.expression_error(capture), np.abs(a - np.pad(b, [(0, 0), (0, 3)])).mean(1))


def test_rigid_alignment_is_scipys(capture):
    points, target = capture.geometry.vertices, capture.truth.geometry.vertices
    region = torch.arange(V) % 3 > 0
    aligned = validation_figures.rigidly_aligned(points, target, region).numpy()
    for i in range(B):
        a, b = points[i].double().numpy(), target[i].double().numpy()
        centre, to = a[region].mean(0), b[region].mean(0)
        rotation, _ = Rotation.align_vectors(b[region] - to, a[region] - centre)
        np.testing.assert_allclose(aligned[i], rotation.apply(a - centre) + to, atol=2e-6)


def test_alignment_undoes_a_rotation_but_no_mirror_and_no_scale():
    points = torch.randn(1, V, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    turned = torch.from_numpy(Rotation.from_rotvec([0.4, -2.0, 1.0]).apply(points[0].numpy()))[None] + 0.3
    everything = torch.ones(V, dtype=torch.bool)
    assert (validation_figures.rigidly_aligned(points, turned, everything) - turned).abs().max() < 1e-12
    for other in (points * torch.tensor([-1.0, 1, 1]), 2 * points):
        assert (validation_figures.rigidly_aligned(points, other, everything) - other).norm(dim=-1).mean() > 0.1


def test_vertex_errors_by_region(capture):
    masks = {
        "face": torch.arange(V) < 30,
        "lips": torch.arange(V) < 5,
        "eye_region": torch.arange(V) > 20,
        "brows": torch.arange(V) == 7,
    }
    aligned = validation_figures.rigidly_aligned(
        capture.geometry.vertices, capture.truth.geometry.vertices, masks["face"]
    )
    distance = 1000 * np.linalg.norm((aligned - capture.truth.geometry.vertices).numpy(), axis=-1)
    found = validation_figures.vertex_errors(capture, masks)
    assert set(found) == {"face", "lips", "eyes", "brows"}
    for region, name in {"face": "face", "lips": "lips", "eyes": "eye_region", "brows": "brows"}.items():
        close(found[region], distance[:, masks[name].numpy()].mean(1))
    assert set(validation_figures.vertex_errors(capture, {})) == {"face"}


def test_what_is_not_known_is_not_measured(capture):
    bare = Capture(crop=FaceCrop(capture.crop.image), parameters=capture.parameters)
    for measure in (
        validation_figures.landmark_error,
        validation_figures.photometric_error,
        validation_figures.detail_photometric_error,
        validation_figures.expression_error,
    ):
        assert measure(bare) is None
    assert validation_figures.vertex_errors(bare, {}) is None
    assert validation_figures.emotion_distance(None, None) is None
