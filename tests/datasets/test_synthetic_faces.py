"""Synthetic faces: the same everywhere, with true labels."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from emoca_core import get_registry
from emoca_core.errors import RecipeError
from emoca_core.interfaces import EXPRESSIONS
from emoca_core.testing import check_component
from emoca_core.train.emotion_batch import collate_faces
from emoca_core.vocabulary.arkit import ARKIT_NAMES

SMALL = {"image_size": 64, "face_model": {"params": {"texture_size": 64}}, "length": 70}


@pytest.fixture(scope="module")
def faces():
    return get_registry().build("dataset", "synthetic_faces", SMALL)


def test_it_honours_the_contract():
    check_component("dataset", "synthetic_faces", SMALL)


def test_a_face_does_not_depend_on_its_batch_or_worker(faces):
    alone = faces[5]
    together = faces.__getitems__([1, 5, 9])[1]
    torch.testing.assert_close(alone.image, together.image, atol=2e-3, rtol=0)  # matmul of another size rounds anew
    assert alone.key == together.key == "synthetic/0/5"
    loader = DataLoader(faces, batch_size=7, num_workers=2, collate_fn=collate_faces)
    batch = next(iter(loader))
    torch.testing.assert_close(batch.input[5], alone.image, atol=2e-3, rtol=0)


def test_another_seed_gives_other_faces(faces):
    other = get_registry().build("dataset", "synthetic_faces", {**SMALL, "seed": 1})
    assert (faces[0].image - other[0].image).abs().mean() > 0.02


def test_classes_are_equally_frequent_and_labels_follow_the_circumplex(faces):
    samples = faces.__getitems__(range(70))
    classes = np.array([s.expression for s in samples])
    assert np.bincount(classes).tolist() == [10] * 7
    valence = {
        name: np.mean([s.valence for s in samples if s.expression == i]) for i, name in enumerate(faces.params.labels)
    }
    assert valence["happy"] > 0.3
    assert max(valence[name] for name in ("sad", "fear", "anger", "disgust")) < -0.2
    assert all(-1 <= s.valence <= 1 and -1 <= s.arousal <= 1 for s in samples)


def test_the_code_reproduces_geometry_and_landmarks(faces):
    sample = faces[3]
    again = faces.face_model(sample.parameters)
    torch.testing.assert_close(again.vertices, sample.geometry.vertices, atol=1e-6, rtol=0)
    seen = sample.parameters.camera.project(again.landmarks["ibug68"])[0, :, :2]
    torch.testing.assert_close(seen, sample.landmarks, atol=1e-4, rtol=0)
    assert sample.landmarks.abs().max() < 1.1  # the shared framing keeps the face in the picture


def test_neighbours_are_one_person_with_different_emotions(faces):
    first, second, other = faces.__getitems__([0, 1, 4])
    assert first.identity == second.identity != other.identity
    assert torch.equal(first.parameters.shape, second.parameters.shape)
    assert torch.equal(first.parameters.albedo, second.parameters.albedo)
    assert not torch.equal(first.parameters.expression, second.parameters.expression)
    assert not torch.equal(first.parameters.shape, other.parameters.shape)


def test_happy_faces_smile(faces):
    smile = ARKIT_NAMES.index("mouthSmileLeft")
    happy = EXPRESSIONS.index("happy")
    samples = faces.__getitems__(range(70))
    smiles = [
        [s.parameters.expression[0, smile].item() for s in samples if (s.expression == happy) == yes]
        for yes in (True, False)
    ]
    assert np.mean(smiles[0]) > np.mean(smiles[1]) + 0.3


def test_a_model_without_arkit_names_is_refused(monkeypatch):
    from emoca_plugins.face_models.open_head import OpenHead

    monkeypatch.setattr(
        OpenHead, "expression_names", property(lambda self: (), lambda self, names: None), raising=False
    )
    with pytest.raises(RecipeError, match="needs ARKit expressions"):
        get_registry().build("dataset", "synthetic_faces", SMALL)
