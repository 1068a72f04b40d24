"""What a witness reads: by the definition of each figure."""

import numpy as np
import pytest
import torch

from emoca_core.interfaces import EmotionBackbone, EmotionPrediction
from emoca_core.retargeting import Curve, RetargetSettings, retarget
from emoca_core.retargeting.facts import facts_of
from emoca_core.retargeting.measures import EmotionKept, measured


class Brightness(EmotionBackbone):
    """Dark pictures are sad."""

    labels = ("joy", "sad")
    feature_dims = {"mean": 1}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, image):
        bright = image.mean((1, 2, 3)) - 0.4
        return EmotionPrediction(
            {"mean": bright[:, None]}, torch.stack([bright, -bright], 1) * self.gain, valence=2 * bright
        )


def probabilities(*rows):
    return np.array(rows, dtype=np.float64)


def test_the_figures_are_what_they_say():
    kept = EmotionKept(
        witness="w",
        labels=("Happiness", "sad"),
        retargeted=probabilities([0.9, 0.1], [0.2, 0.8], [0.7, 0.3]),
        driver=probabilities([0.8, 0.2], [0.7, 0.3], [0.7, 0.3]),
        unmoved=np.array([0.1, 0.9]),
        retargeted_levels={"valence": np.array([0.5, 0.0, 0.0])},
        driver_levels={"valence": np.array([0.2, 0.0, 0.0])},
    )
    found = kept.figures("happy", np.array([1.0, 0.6, 0.1]))
    assert found["distance"] == pytest.approx((0.1 + 0.5 + 0) / 3, abs=1e-4)
    assert found["distance_unmoved"] == pytest.approx((0.7 + 0.6 + 0.6) / 3, abs=1e-4)
    assert found["agreement"] == pytest.approx(2 / 3, abs=1e-4) and found["valence_difference"] == pytest.approx(0.1)
    assert found["asked"] == {
        **{"emotion": "happy", "probability": 0.55, "probability_unmoved": 0.1, "recognised": 0.5}
    }
    assert "asked" not in kept.figures("fear", np.ones(3)) and "asked" not in kept.figures(None, None)


def test_a_witness_looks_at_the_driver_and_at_the_drawn_face(method, photo, clip):
    moved = retarget(method, photo(), clip(np.linspace(220, 20, 8)))
    shown, measures = measured(moved, ("brightness", Brightness()), None)
    assert shown.emotion.backbone == "brightness" and set(shown.emotion.scores) == {"joy", "sad"}
    assert len(shown.emotion.valence) == len(moved) == 8
    figures = measures.emotion
    assert 0 < figures["distance"] < 1 and figures["witness"] == "brightness"
    black = Brightness()(torch.zeros(1, 3, 4, 4)).logits.softmax(1)[0, 0].item()
    assert shown.emotion.scores["joy"].min() > black  # something was drawn
    lines = facts_of(shown, measures)
    assert any("witness brightness" in line for line in lines) and any(line.startswith("lips") for line in lines)


def test_what_is_not_measured_has_its_reason(method, photo):
    settings = RetargetSettings(curve=Curve.parse("0:0,0.1:1"), rate=10.0)
    moved = retarget(method, photo(), "emotion:fear", settings)
    shown, measures = measured(moved, None, None)
    assert shown.emotion is None and (measures.emotion, measures.identity, measures.lips) == (None, None, None)
    assert {"emotion", "identity", "lips"} == set(measures.missing)
    assert "recognition network" in measures.missing["identity"]
    assert all("\n" not in line for line in facts_of(shown, measures))
