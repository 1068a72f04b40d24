"""The conformance kit passes good components, and each of its checks can fail."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from local_plugins import component_registry
from pydantic import Field

from emoca_core import ComponentParams, Registry
from emoca_core.cli.new import write_plugin
from emoca_core.errors import EmocaError, MissingAssetError
from emoca_core.interfaces import EmotionBackbone, EmotionPrediction, FaceParameters, FaceSample, Parts
from emoca_core.interfaces.samples import sample_crop
from emoca_core.registry.kinds import KINDS
from emoca_core.testing import check_component

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The package that `emoca new plugin` writes for every kind: module of the component, and its registry."""
    folder = tmp_path_factory.mktemp("plugins")
    packages = {}
    for kind in KINDS:
        path = write_plugin(f"kit-{kind}", kind, folder)
        sys.path.insert(0, str(path))
        registry = Registry()
        registry.add_plugin(importlib.import_module(f"emoca_kit_{kind}"), kind)
        packages[kind] = registry
    yield packages
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(folder))]


@pytest.fixture
def pictures(tmp_path):
    """A folder with two pictures of two expressions."""
    from PIL import Image

    for index, expression in enumerate(("happy", "sad")):
        (tmp_path / expression).mkdir()
        Image.fromarray(np.full((32, 32, 3), 100 + index, np.uint8)).save(tmp_path / expression / "face.png")
    return tmp_path


@pytest.fixture
def params(pictures):
    """Parameters without which a kind cannot be built."""
    return {"dataset": {"folder": str(pictures)}}


@pytest.mark.parametrize("kind", KINDS)
def test_what_emoca_new_writes_keeps_its_contract(written, kind, params):
    check_component(kind, f"kit_{kind}", params.get(kind), written[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_what_emoca_new_writes_has_a_valid_card(written, kind):
    from emoca_core.registry.catalogue import get_catalogue

    assert get_catalogue(None, written[kind]).card(kind, f"kit_{kind}").summary


def test_the_example_plugin_keeps_its_contract(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "emoca-colour-histogram"))
    registry = Registry()
    registry.add_plugin(importlib.import_module("emoca_colour_histogram"), "example")
    check_component("emotion_backbone", "colour_histogram", registry=registry)
    check_component("emotion_backbone", "colour_histogram", {"bins": 32}, registry)


# Every broken component below is a good one with one fault.


class Good(EmotionBackbone):
    """Mean colour. Source: this test."""

    class Params(ComponentParams):
        gain: float = 1.0
        """Multiplies the features."""

    params: Params
    feature_dims = {"colour": 3}  # noqa: RUF012 -- as its interface declares it
    labels = ("dark", "bright")

    def __init__(self, params):
        super().__init__(params)
        self.register_buffer("weights", torch.tensor([0.2, 0.3, 0.5]))

    def colour(self, image):
        return self.params.gain * image.mean((2, 3)) * self.weights

    def forward(self, image):
        colour = self.colour(image)
        level = colour.sum(1)
        return EmotionPrediction({"colour": colour}, torch.stack([1 - level, level], dim=1), level, level)


class WithoutSource(Good):
    """Mean colour."""


class UndocumentedParameter(Good):
    """Source: this test."""

    class Params(ComponentParams):
        gain: float = 1.0


class AnyParameter(Good):
    """Source: this test."""

    class Params(ComponentParams, extra="ignore"):
        gain: float = 1.0
        """Multiplies the features."""


class ParameterLostInJson(Good):
    """Source: this test."""

    class Params(ComponentParams):
        gain: float = Field(default=2.0, exclude=True)
        """Multiplies the features."""


class ForgetsItsParameters(Good):
    """Source: this test."""

    def __init__(self, params):
        super().__init__(params)
        self.params = self.Params(gain=params.gain + 1)


class Random(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image) + 0.01 * torch.rand(len(image), 3)


class DrawsRandomNumbers(Good):
    """Source: this test."""

    def colour(self, image):
        torch.rand(1)
        return super().colour(image)


class LooksAtTheWholeBatch(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image) - image.mean()


class ChangesItsInput(Good):
    """Source: this test."""

    def colour(self, image):
        result = super().colour(image)
        if not image.requires_grad:
            image.mul_(0.5)
        return result


class KeepsATensorAside(Good):
    """Source: this test."""

    def __init__(self, params):
        super().__init__(params)
        self.scale = torch.ones(3)


class KeepsATensorInAList(Good):
    """Source: this test."""

    def __init__(self, params):
        super().__init__(params)
        self.scales = [{"a": torch.ones(3)}]


class ForgetsItsWeights(Good):
    """Source: this test."""

    def __init__(self, params):
        super().__init__(params)
        self.register_buffer("weights", torch.rand(3), persistent=False)


class StaysBehind(Good):
    """Source: this test."""

    def _apply(self, move, recurse=True):
        return self


class NotFinite(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image) / 0


class ReturnsDouble(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image).double()


class CutOffFromTheGraph(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image.detach()) * torch.ones(1, requires_grad=True)


class WithoutAnyGraph(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image).detach()


class WithoutGradient(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image).round()


class WithoutDeclaredFeatures(Good):
    """Source: this test."""

    feature_dims = {}  # noqa: RUF012 -- as its interface declares it


class WrongFeatureSize(Good):
    """Source: this test."""

    feature_dims = {"colour": 4}  # noqa: RUF012 -- as its interface declares it


class WrongNumberOfLabels(Good):
    """Source: this test."""

    labels = ("only",)


class LogitsWithoutLabels(Good):
    """Source: this test."""

    labels = ()


class ValenceOfWrongShape(Good):
    """Source: this test."""

    def forward(self, image):
        prediction = super().forward(image)
        object.__setattr__(prediction, "valence", torch.zeros(1))  # past the type checker of the tests
        return prediction


class OneSizeOnly(Good):
    """Source: this test."""

    def colour(self, image):
        return super().colour(image) if image.shape[-1] == 112 else super().colour(image)[:1]


class NotAnEmotionBackbone(torch.nn.Module):
    """Source: this test."""

    Params = ComponentParams


class Abstract(EmotionBackbone):
    """Source: this test."""


class NeedsAnAsset(Good):
    """Source: this test."""

    def __init__(self, params):
        raise MissingAssetError("missing asset 'gold'")


BROKEN = {
    WithoutSource: "'Source:'",
    UndocumentedParameter: "no docstring under gain",
    AnyParameter: "refuse unknown keys",
    ForgetsItsParameters: "must keep its parameters",
    Random: "same result twice",
    DrawsRandomNumbers: "global random state",
    LooksAtTheWholeBatch: "must not depend on the others",
    ChangesItsInput: "must not change its input",
    KeepsATensorAside: "'scale' holds a plain tensor",
    KeepsATensorInAList: "'scales' holds a plain tensor",
    ForgetsItsWeights: "must rebuild the same component",
    StaysBehind: "must move weights",
    NotFinite: "must be finite",
    ReturnsDouble: "float32 in must give float32 out",
    CutOffFromTheGraph: "no gradient arrives",
    WithoutAnyGraph: "cut off from the graph",
    WithoutGradient: "zero everywhere",
    WithoutDeclaredFeatures: "must declare feature_dims",
    WrongFeatureSize: "feature_dims declares",
    WrongNumberOfLabels: "one score for each of the 1 labels",
    LogitsWithoutLabels: "logits need labels",
    ValenceOfWrongShape: "valence must be one number per face",
    OneSizeOnly: "feature_dims declares",
    NotAnEmotionBackbone: "must subclass emoca_core.interfaces.EmotionBackbone",
    Abstract: "must implement forward",
}


def check(kind, cls, params=None, **inputs):
    with component_registry(kind, under_test=cls) as registry:
        check_component(kind, "under_test", params, registry, **inputs)


def test_a_good_backbone_passes():
    check("emotion_backbone", Good)
    check("emotion_backbone", Good, {"gain": 2.0})


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("cls", "said"), BROKEN.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_a_broken_backbone_is_told_which_promise_it_breaks(cls, said):
    with pytest.raises(AssertionError) as caught:
        check("emotion_backbone", cls)
    assert said in str(caught.value)
    assert "emotion_backbone 'under_test'" in str(caught.value)


def test_parameters_that_are_lost_in_json_are_told():
    with pytest.raises(AssertionError, match="must survive JSON"):
        check("emotion_backbone", ParameterLostInJson, {"gain": 3.0})


def test_a_missing_asset_is_no_broken_promise():
    with pytest.raises(MissingAssetError):
        check("emotion_backbone", NeedsAnAsset)


def broken(good: type, **changes) -> type:
    """A subclass with some attributes or methods exchanged."""
    return type("Broken", (good,), {"__doc__": "Source: this test.", **changes})


FACE_MODEL_FAULTS = {
    "+x must be the subject's left": lambda g: turned(g, [-1, 1, 1]),
    "+y must be up": lambda g: turned(g, [1, -1, 1]),
    "must be in metres": lambda g: turned(g, [1000, 1000, 1000]),
    "the 68 iBUG landmarks must always be there": lambda g: dataclasses.replace(g, landmarks={}),
    "landmarks must lie on the surface": lambda g: dataclasses.replace(
        g, landmarks={"ibug68": 1.5 * g.landmarks["ibug68"]}
    ),
    "must not depend on the others": lambda g: dataclasses.replace(g, vertices=g.vertices + g.vertices.mean(0)),
}


def turned(geometry, factors):
    """Every point multiplied per axis."""
    return geometry.map(lambda points: points * points.new_tensor([float(f) for f in factors]))


def cls_of(written, kind):
    return written[kind].resolve(kind, f"kit_{kind}")


@pytest.mark.parametrize("said", FACE_MODEL_FAULTS)
def test_a_broken_face_model_is_told(written, said):
    good, change = cls_of(written, "face_model"), FACE_MODEL_FAULTS[said]
    with pytest.raises(AssertionError, match=said.replace("+", r"\+")):
        check("face_model", broken(good, forward=lambda self, p: change(good.forward(self, p))))


def _after_init(good, change):
    def __init__(self, params):  # noqa: N807 -- it becomes the method of that name
        good.__init__(self, params)
        change(self)

    return broken(good, __init__=__init__)


def _flip(model):
    model.faces = model.faces.flip(1)


def _double_vertex(model):
    model.faces = torch.cat([model.faces, torch.tensor([[0, 0, 1]])])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_flip, "counter-clockwise"),
        (_double_vertex, "use a vertex twice"),
        (lambda model: setattr(model, "blocks", {"shape": 3, "global_pose": 3, "jaw_pose": 3}), "depend on jaw_pose"),
        (lambda model: setattr(model, "blocks", {"shpe": 3}), "must depend on shpe"),
        (lambda model: setattr(model, "expression_names", ("smile",)), "name all 0 coefficients"),
        (lambda model: setattr(model, "faces", model.faces + 1000), "must index vertices"),
    ],
)
def test_a_face_model_with_a_broken_mesh_is_told(written, change, said):
    with pytest.raises(AssertionError, match=said):
        check("face_model", _after_init(cls_of(written, "face_model"), change))


def test_a_face_model_that_does_not_turn_rigidly_is_told(written):
    good = cls_of(written, "face_model")

    def forward(self, parameters):
        pose = parameters.global_pose
        return good.forward(self, parameters.replace(global_pose=None if pose is None else pose * 0.5))

    # half the angle is a rigid motion too, but not the one that was asked for
    with pytest.raises(AssertionError, match="must rotate the whole mesh"):
        check("face_model", broken(good, forward=forward))


def test_a_face_model_that_reads_foreign_blocks_is_told(written):
    good = cls_of(written, "face_model")

    def forward(self, parameters):
        shift = 0.0 if parameters.detail is None else 0.01
        return good.forward(self, parameters).map(lambda points: points + shift)

    with pytest.raises(AssertionError, match="not declared must be ignored"):
        check("face_model", broken(good, forward=forward))


RENDERER_FAULTS = {
    "another triangle": lambda f: dataclasses.replace(f, triangles=f.triangles.flip(2)),
    "must be \\[B, H, W\\]": lambda f: dataclasses.replace(f, triangles=f.triangles.mT, depth=f.depth.mT),
    "must be integers": lambda f: dataclasses.replace(f, triangles=f.triangles.to(torch.int16)),
    "depth must be": lambda f: dataclasses.replace(f, depth=f.depth + 0.1),
    "visibility must have no gradient": lambda f: dataclasses.replace(f, depth=f.depth.clone().requires_grad_()),
    "must return Fragments": lambda f: f.triangles,
}


@pytest.mark.parametrize("said", RENDERER_FAULTS)
def test_a_broken_renderer_is_told(written, said):
    good = cls_of(written, "renderer")

    def rasterize(self, vertices, faces, image_size):
        return RENDERER_FAULTS[said](good.rasterize(self, vertices, faces, image_size))

    with pytest.raises(AssertionError, match=said):
        check("renderer", broken(good, rasterize=rasterize))


INTERPOLATION_FAULTS = {
    "must be linear in the image": lambda v: v * 1.01,
    "with respect to the attributes": lambda v: v.detach() + 0.0 * v + (v - v.detach()) * 0.5,
    "the background must be zero": lambda v: v + (v == 0) * 1e-6,
}


@pytest.mark.parametrize("said", INTERPOLATION_FAULTS)
def test_a_renderer_that_interpolates_wrongly_is_told(written, said):
    good = cls_of(written, "renderer")

    def interpolate(self, fragments, attributes, attribute_faces=None):
        return INTERPOLATION_FAULTS[said](good.interpolate(self, fragments, attributes, attribute_faces))

    with pytest.raises(AssertionError, match=said):
        check("renderer", broken(good, interpolate=interpolate))


def test_a_renderer_without_gradients_to_the_vertices_is_told(written):
    good = cls_of(written, "renderer")

    def interpolate(self, fragments, attributes, attribute_faces=None):
        still = dataclasses.replace(fragments, vertices=fragments.vertices.detach() + 0 * fragments.vertices)
        return good.interpolate(self, still, attributes, attribute_faces)

    with pytest.raises(AssertionError, match="with respect to vertex x and y"):
        check("renderer", broken(good, interpolate=interpolate))


def test_a_renderer_for_gpus_only_says_so(written):
    good = cls_of(written, "renderer")

    def rasterize(self, vertices, faces, image_size):
        if vertices.device.type == "cpu":
            raise EmocaError("needs a GPU")
        return good.rasterize(self, vertices, faces, image_size)

    if torch.cuda.is_available():
        check("renderer", broken(good, rasterize=rasterize))
    else:
        with pytest.raises(EmocaError, match="needs a GPU"):
            check("renderer", broken(good, rasterize=rasterize))


ENCODER_FAULTS = {
    "blocks declares": lambda p: p.replace(jaw_pose=torch.zeros(len(p), 3)),
    "must return FaceParameters": lambda p: p.expression,
    "no gradient reaches": lambda p: p.map(lambda t: t.detach() + torch.zeros_like(t).requires_grad_()),
    "cut off from the graph": lambda p: p.map(torch.detach),
    "must not depend on the others": lambda p: p.replace(expression=p.expression + torch.arange(len(p))[:, None]),
}


@pytest.mark.parametrize("said", ENCODER_FAULTS)
def test_a_broken_encoder_is_told(written, said):
    good = cls_of(written, "encoder")

    with pytest.raises(AssertionError, match=said):
        check("encoder", broken(good, forward=lambda self, crop: ENCODER_FAULTS[said](good.forward(self, crop))))


def test_an_encoder_that_reads_what_it_does_not_declare_is_told(written):
    good = cls_of(written, "encoder")

    def forward(self, crop):
        parameters = good.forward(self, crop)
        return parameters if crop.blendshapes is None else parameters.map(lambda tensor: tensor + 1)

    with pytest.raises(AssertionError, match="what is not in `needs`"):
        check("encoder", broken(good, forward=forward))
    check("encoder", broken(good, forward=forward, needs=frozenset({"blendshapes"})))


def test_an_encoder_that_looks_at_frames_it_gets_for_their_landmarks_is_told(written):
    good = cls_of(written, "encoder")

    def encode_person(self, crop, others=None):
        person = good.encode_person(self, crop)
        return person if others is None else FaceParameters(shape=others.image.mean((1, 2, 3))[:1, None])

    check("encoder", broken(good, encode_person=encode_person))
    with pytest.raises(AssertionError, match="must not look at the pixels of other frames"):
        check("encoder", broken(good, encode_person=encode_person, person_landmarks=4))


def test_an_encoder_that_glances_otherwise_than_it_says_is_told(written):
    good = cls_of(written, "encoder")

    def glance(self, crop):
        return crop.image.mean((2, 3))

    def encode_frames(self, crop, person):
        brightness = (glance(self, crop) if crop.glance is None else crop.glance).mean()
        black = dataclasses.replace(crop, image=torch.zeros_like(crop.image))
        code = good.encode_frames(self, black, person)
        return code.replace(expression=code.expression + brightness)

    changes = {"glance": glance, "encode_frames": encode_frames, "frames_have_pixels": False}
    check("encoder", broken(good, glance_size=3, **changes))
    with pytest.raises(AssertionError, match="promised are"):
        check("encoder", broken(good, glance_size=2, **changes))
    with pytest.raises(AssertionError, match="encode_frames must not look at them"):
        check("encoder", broken(good, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"needs": frozenset({"smell"})}, "needs names unknown fields: .'smell'."),
        ({"crop_rule": None}, "must be a CropRule"),
    ],
)
def test_an_encoder_with_broken_declarations_is_told(written, changes, said):
    with pytest.raises(AssertionError, match=said):
        check("encoder", broken(cls_of(written, "encoder"), **changes))


def test_an_encoder_that_inverts_its_parts_gets_them(written):
    seen = []
    good = cls_of(written, "encoder")
    cls = broken(good, attach=lambda self, parts: seen.append(parts))
    parts = Parts(cls_of(written, "face_model")(), cls_of(written, "renderer")())
    check("encoder", cls, parts=parts, sample=sample_crop(64, 2))
    assert seen and all(handed is parts for handed in seen)


LOSS_FAULTS = {
    "must be one number": lambda v: v[None],
    "cut off from the graph": torch.detach,
    "must be finite": lambda v: v / 0,
    "float64 in must give float64 out": lambda v: v.float(),
    "no gradient reaches": lambda v: 0 * v,
}


@pytest.mark.parametrize("said", LOSS_FAULTS)
def test_a_broken_loss_is_told(written, said):
    good = cls_of(written, "loss")
    with pytest.raises(AssertionError, match=said):
        check("loss", broken(good, forward=lambda self, capture: LOSS_FAULTS[said](good.forward(self, capture))))


def test_a_loss_that_reads_what_it_does_not_require_is_told(written):
    good = cls_of(written, "loss")

    def forward(self, capture):
        return good.forward(self, capture) + capture.rendering.image.mean()

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'image'"):
        check("loss", broken(good, forward=forward))
    check("loss", broken(good, forward=forward, requires=frozenset({"parameters", "rendering"})))


@pytest.mark.parametrize(
    ("requires", "said"), [(frozenset({"smell"}), "unknown fields: .'smell'."), ({"crop"}, "must be a frozenset")]
)
def test_a_loss_with_broken_declarations_is_told(written, requires, said):
    with pytest.raises(AssertionError, match=said):
        check("loss", broken(cls_of(written, "loss"), requires=requires))


DETAIL_FAULTS = {
    "the map has shape": lambda m: m[..., :-1],
    "must be in metres": lambda m: m + 1.0,
    "the map depends on the code": torch.detach,
}


@pytest.mark.parametrize("said", DETAIL_FAULTS)
def test_a_broken_detail_model_is_told(written, said):
    good = cls_of(written, "detail")
    with pytest.raises(AssertionError, match=said):
        check("detail", broken(good, decode=lambda self, p: DETAIL_FAULTS[said](good.decode(self, p))))


def test_a_detail_model_with_a_code_of_another_size_is_told(written):
    cls = _after_init(cls_of(written, "detail"), lambda model: setattr(model, "code_size", 7))
    with pytest.raises(AssertionError, match="code_size declares 7"):
        check("detail", cls)


LANDMARKER_FAULTS = {
    "must return a list": tuple,
    "must return Detection objects": lambda faces: [face.box for face in faces],
    "the score 2.0": lambda faces: [dataclasses.replace(face, score=2.0) for face in faces],
    "x0 < x1": lambda faces: [dataclasses.replace(face, box=face.box[[2, 1, 0, 3]]) for face in faces],
    "must always be there": lambda faces: [dataclasses.replace(face, landmarks={}) for face in faces],
    "in pixels of the photo": lambda faces: [moved(face, lambda points: points + 1e6) for face in faces],
    "left and right are exchanged": lambda faces: [moved(face, mirrored) for face in faces],
    "ibug68 must be finite": lambda faces: [moved(face, lambda points: points * np.float32("nan")) for face in faces],
    "52 activations": lambda faces: [
        dataclasses.replace(face, blendshapes=np.full(52, 3.0, np.float32)) for face in faces
    ],
    "largest face must come first": lambda faces: [dataclasses.replace(faces[0], box=faces[0].box * 0.5), *faces],
    "must find the face": lambda faces: [],
}


def moved(face, change):
    return dataclasses.replace(face, landmarks={name: change(points) for name, points in face.landmarks.items()})


def mirrored(points):
    return points * np.array([-1, 1], np.float32) + np.array([2 * points[:, 0].mean(), 0], np.float32)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("said", LANDMARKER_FAULTS)
def test_a_broken_landmarker_is_told(written, said):
    good = cls_of(written, "landmarker")
    photo = np.full((100, 100, 3), 90, np.uint8)
    cls = broken(good, detect=lambda self, p: LANDMARKER_FAULTS[said](good.detect(self, p)))
    with pytest.raises(AssertionError, match=said):
        check("landmarker", cls, sample=photo)


def test_a_landmarker_that_draws_on_the_photo_is_told(written):
    good = cls_of(written, "landmarker")

    def detect(self, photo):
        photo[0, 0] = 0
        return good.detect(self, photo)

    with pytest.raises(AssertionError, match="must not change the photo"):
        check("landmarker", broken(good, detect=detect))


def sample(**changes):
    return lambda found: dataclasses.replace(found, **changes)


DATASET_FAULTS = {
    "must be in \\[0, 1\\]": lambda found: dataclasses.replace(found, image=found.image * 255),
    "must be float32 \\[3, H, W\\]": lambda found: dataclasses.replace(found, image=found.image.double()),
    "key must not be empty": sample(key=""),
    "keys must be unique": sample(key="same"),
    "expression 9": sample(expression=9),
    "valence 3.0": sample(valence=3.0),
    "in NDC, not in pixels": sample(landmarks=torch.full((68, 2), 100.0)),
    "must be a FaceSample": lambda found: found.image,
}


@pytest.mark.parametrize("said", DATASET_FAULTS)
def test_a_broken_data_set_is_told(written, params, said):
    good = cls_of(written, "dataset")

    class Faulty(good):
        """Source: this test."""

        def __getitem__(self, index):
            return DATASET_FAULTS[said](super().__getitem__(index))

    with pytest.raises(AssertionError, match=said):
        check("dataset", Faulty, params["dataset"])


def test_a_data_set_without_an_end_or_without_faces_is_told(written, params):
    good = cls_of(written, "dataset")
    endless = broken(good, __getitem__=lambda self, index: good.__getitem__(self, index % 2))
    with pytest.raises(AssertionError, match="index 2 must raise IndexError"):
        check("dataset", endless, params["dataset"])
    with pytest.raises(AssertionError, match="is empty"):
        check("dataset", broken(good, __len__=lambda self: 0), params["dataset"])


def test_a_data_set_that_changes_is_told(written, params):
    good = cls_of(written, "dataset")

    def __getitem__(self, index):  # noqa: N807 -- it becomes the method of that name
        found = good.__getitem__(self, index)
        return FaceSample(torch.rand(found.image.shape), found.key)

    with pytest.raises(AssertionError, match="the same index must give the same face"):
        check("dataset", broken(good, __getitem__=__getitem__), params["dataset"])
