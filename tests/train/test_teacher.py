"""Learning from another backbone: asked once, by its own names of the classes."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from emoca_core import ComponentParams
from emoca_core.errors import ParamsError
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction, FaceDataset, FaceSample
from emoca_core.train.teacher import taught_by

LABELS = ("sad", "happy")


class Brightness(EmotionBackbone):
    """Knows two classes and a third: the mean colours of a picture."""

    labels = ("happy", "bored", "sad")
    feature_dims: ClassVar = {"colours": 3}
    asked = 0

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(ComponentParams())
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image):
        Brightness.asked += len(image)
        colours = self.factor * image.mean((2, 3))
        return EmotionPrediction({"colours": colours}, logits=colours)


class Colours(FaceDataset):
    """Pictures of one colour each."""

    def __init__(self, count: int) -> None:
        super().__init__(ComponentParams())
        self.colours = torch.rand(count, 3, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.colours)

    def __getitem__(self, index: int) -> FaceSample:
        return FaceSample(self.colours[index, :, None, None].expand(3, 4, 4), f"{index}", expression=index % 2)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("emoca_core.train.teacher.platformdirs.user_cache_dir", lambda name: str(tmp_path))


def test_a_teacher_is_asked_once_for_the_classes_to_learn():
    faces, before = Colours(150), Brightness.asked
    taught = taught_by(Brightness(), faces, LABELS)
    assert len(taught) == 150 and taught[7].expression == 1 and taught[7].key == "7"
    torch.testing.assert_close(taught[7].logits, faces.colours[7, [2, 0]])  # sad and happy, not bored
    assert Brightness.asked == before + 150
    torch.testing.assert_close(taught_by(Brightness(), faces, LABELS).logits, taught.logits)
    assert Brightness.asked == before + 150, "it was asked again"
    other = taught_by(Brightness(2.0), faces, LABELS)
    torch.testing.assert_close(other.logits, 2 * taught.logits)
    assert len(taught_by(Brightness(), Colours(20), LABELS).logits) == 20


def test_a_teacher_has_to_know_the_classes():
    with pytest.raises(ParamsError, match="does not know anger, fear; it recognises happy, bored, sad"):
        taught_by(Brightness(), Colours(3), ("happy", "anger", "fear"))
