"""A method with another judge shares its parts."""

from patch_backbones import Patches

from emoca_core import load_method


def test_the_parts_are_shared_and_the_first_method_stays_as_it_is():
    method = load_method("open_fit", change={"face_model": {"params": {"texture_size": 16}}}, device="cpu")
    judge = Patches()
    other = method.looking_through(judge)
    assert other.emotion_backbone is judge
    assert method.emotion_backbone is None
    assert other.parts()["emotion_backbone"] is judge
    assert "emotion_backbone" not in method.parts()
    assert other.encoder is method.encoder and other.face_model is method.face_model
    assert not any(name.startswith("emotion_backbone") for name, _ in method.named_modules())
