"""What an emotion backbone promises."""

from emoca_core.interfaces import EmotionBackbone, EmotionPrediction
from emoca_core.interfaces.samples import FACES, sample_image
from emoca_core.testing.common import Subject, check_module, gradient_of


def check(subject: Subject[EmotionBackbone]) -> None:
    """Named features of the declared sizes, classes as labelled, any picture size, gradients to the picture."""
    backbone = subject.component
    subject.require(getattr(backbone, "feature_dims", None), "must declare feature_dims, the size of every feature")
    image = sample_image(112) if subject.sample is None else subject.sample
    _check_prediction(subject, backbone, backbone(image), len(image))
    _check_prediction(subject, backbone, backbone(sample_image(80)), FACES)  # of another size
    check_module(subject, lambda module, picture: module(picture), image)
    picture = image.clone().requires_grad_()
    feature = backbone(picture).features[next(iter(backbone.feature_dims))]
    gradient_of(subject, feature, picture, "the first feature must carry gradients to the picture")


def _check_prediction(
    subject: Subject[EmotionBackbone], backbone: EmotionBackbone, prediction: object, count: int
) -> None:
    subject.require(isinstance(prediction, EmotionPrediction), "must return an EmotionPrediction")
    assert isinstance(prediction, EmotionPrediction)
    shapes = {name: tuple(feature.shape[:2]) for name, feature in prediction.features.items()}
    declared = {name: (count, size) for name, size in backbone.feature_dims.items()}
    subject.require(shapes == declared, f"features are {shapes}, feature_dims declares {declared}")
    logits = prediction.logits
    if backbone.labels:
        subject.require(
            logits is not None and logits.shape == (count, len(backbone.labels)),
            f"logits must be one score for each of the {len(backbone.labels)} labels",
        )
    else:
        subject.require(logits is None, "logits need labels")
    for name in ("valence", "arousal"):
        level = getattr(prediction, name)
        subject.require(level is None or level.shape == (count,), f"{name} must be one number per face")
