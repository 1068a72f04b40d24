"""The energy, its descent, and what is thought of the result."""

import pytest
import torch
from patch_backbones import PHOTOS, Others, Patches

from emoca_core import load_method, optimise
from emoca_core.errors import ParamsError, RecipeError, UnknownNameError
from emoca_core.interfaces import FaceParameters, WeakPerspectiveCamera
from emoca_core.optimisation import STARTS, default_terms, descent
from emoca_core.optimisation.descent import ENERGY, descend
from emoca_core.optimisation.energy import Energy
from emoca_core.optimisation.judgement import Judgement, Reading, is_adversarial
from emoca_core.optimisation.pair import crop_of, one_face
from emoca_core.optimisation.settings import OptimisationSettings
from emoca_core.optimisation.starts import distinct_starts, start_code
from emoca_core.optimisation.unknowns import Unknowns

FEW = {"steps": 4, "size": 48}


def energy_of(method, target, terms=None, judge=None, **settings):
    chosen = OptimisationSettings(**{**FEW, **settings})
    return Energy.of(
        method, judge or Patches(), terms or default_terms(target.parameters), crop_of(method, target), chosen
    )


def test_the_energy_is_the_papers(method, source, target):
    """|| a(picture) - a(photo) || + 1e-3 ||psi||^2, computed here without the terms of the registry."""
    energy, judge = energy_of(method, target), Patches()
    code = start_code(source.parameters, target.parameters, STARTS[0])
    with torch.no_grad():
        capture = energy.captures(code)
        total = energy.total(energy.terms(capture))
        rendering = method.render(method.face_model(code), code, (48, 48))
        a, b = judge(rendering.image).features["view"], judge(energy.photo.image).features["view"]
    psi = code.expression / 0.2  # activations in standard deviations
    assert total.item() == pytest.approx((a - b).norm().item() + 1e-3 * psi.square().sum().item(), rel=1e-5)


def test_the_gradient_is_that_of_finite_differences(method, source, target):
    energy = energy_of(method, target, size=96)
    code = start_code(source.parameters, target.parameters, STARTS[0])
    unknowns = Unknowns.of(code, ["expression"])
    values = {name: value.clone().requires_grad_() for name, value in unknowns.values(code).items()}

    def total(numbers):
        return energy.total(energy.terms(energy.captures(unknowns.code(code, numbers)))).sum()

    (gradient,) = torch.autograd.grad(total(values), [values["expression"]])
    way = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (total({"expression": values["expression"] + side * 0.02 * way}) for side in (1, -1))
    assert gradient.norm() > 1e-3
    assert ((ahead - behind) / 0.04).item() == pytest.approx(
        gradient.norm().item(), rel=0.1
    )  # visibility has no gradient


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_every_optimiser_goes_down(method, source, target, optimizer):
    result = optimise(method, source, target, judge=Patches(), optimizer=optimizer, steps=6, size=48)
    before, after = result.best.energies
    assert after < before
    assert result.best.trajectory.best > 0
    assert result.history[ENERGY].shape == result.history["emotion"].shape
    assert after == pytest.approx(result.history[ENERGY].min().item())


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_no_start_knows_of_the_others(method, source, target, optimizer):
    settings = {"judge": Patches(), "optimizer": optimizer, **FEW}
    together = optimise(method, source, target, starts=STARTS[:3], **settings)
    for run in together.runs:
        alone = optimise(method, source, target, starts=[run.start], **settings).best
        # other batch sizes add in another order, and Adam's first steps are signs of gradients
        assert torch.allclose(run.trajectory.history[ENERGY], alone.trajectory.history[ENERGY], atol=1e-4)
        assert torch.allclose(run.best.expression, alone.best.expression, atol=1e-3)


def test_a_face_that_is_done_stands_still(method, source, target):
    """The start with the lower goal stops; the other goes on."""
    starts = distinct_starts(source.parameters, target.parameters, STARTS)
    first = optimise(method, source, target, judge=Patches(), starts=STARTS, steps=1, size=48)
    energies = {run.start: run.energies[0] for run in first.runs}
    low, high = min(energies, key=energies.get), max(energies, key=energies.get)
    goal = (energies[low] + energies[high]) / 2
    both = FaceParameters.cat([starts[low], starts[high]])
    done, going = descend(
        energy_of(method, target, goal=goal),
        Unknowns.of(both, ["expression"]),
        both,
        OptimisationSettings(steps=2, size=48, goal=goal, learning_rate=1e-4),
    )
    assert (done.stopped, going.stopped) == ("goal reached", "all steps")
    assert (len(done.history[ENERGY]), len(going.history[ENERGY])) == (1, 3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_a_stopped_descent_goes_on_and_comes_to_the_same(method, source, target, optimizer, tmp_path, monkeypatch):
    monkeypatch.setattr(descent, "KEPT_EVERY", 2)
    step, steps = descent._Descent._step, []

    def run(stop, **options):
        """The result, unless somebody presses Ctrl-C."""

        def watched(self):
            if self.step == stop:
                raise KeyboardInterrupt
            steps.append(self.step)
            step(self)

        steps.clear()
        monkeypatch.setattr(descent._Descent, "_step", watched)
        settings = {"judge": Patches(), "optimizer": optimizer, "steps": 5, "size": 48}
        return optimise(method, source, target, starts=STARTS[:2], **settings, **options)

    whole = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(3, kept=tmp_path)
    again = run(None, kept=tmp_path)
    assert steps[:3] == [2, 3, 4], "it began anew"
    for one, other in zip(whole.runs, again.runs, strict=True):
        assert one.trajectory.best == other.trajectory.best > 0 and one.trajectory.stopped == other.trajectory.stopped
        assert torch.equal(one.trajectory.codes.expression, other.trajectory.codes.expression)
        for name, values in one.trajectory.history.items():
            assert torch.equal(values, other.trajectory.history[name])


def test_patience_ends_a_way_and_the_best_step_wins(method, source, target):
    result = optimise(
        method, source, target, judge=Patches(), optimizer="sgd", learning_rate=200.0, patience=3, steps=60, size=48
    )
    way = result.best.trajectory
    assert way.stopped == "no better step"
    assert len(way.history[ENERGY]) == way.best + 3 + 1
    assert way.history[ENERGY][way.best] == way.history[ENERGY].min()
    assert way.history[ENERGY][-1] > way.history[ENERGY][way.best]


def test_activations_stay_within_their_range(method, source, target):
    for optimizer in ("adam", "lbfgs"):
        result = optimise(method, source, target, judge=Patches(), optimizer=optimizer, learning_rate=1.0, **FEW)
        path = result.best.trajectory.codes.expression
        assert path.min() == 0 and path.max() <= 1
        assert (path[0] - path[-1]).abs().max() > 0.01


def test_only_the_unknowns_change(method, source, target):
    result = optimise(
        method, source, target, judge=Patches(), unknowns=["jaw_pose", "camera", "lighting", "albedo"], **FEW
    )
    first, best = result.best.first.blocks(), result.code.blocks()
    changed = {name for name in first if not torch.equal(first[name], best[name])}
    assert changed == {"jaw_pose", "camera", "lighting", "albedo"}
    assert torch.allclose(first["camera"][:, :4], best["camera"][:, :4])  # the lens stays


def test_rates_of_blocks(method, source, target):
    def moved(**rates):
        result = optimise(
            method, source, target, judge=Patches(), unknowns=["expression", "jaw_pose"], steps=1, size=48,
            learning_rates=rates,
        )  # fmt: skip
        path = result.best.trajectory.codes
        return [float((block[1] - block[0]).abs().max()) for block in (path.expression, path.jaw_pose)]

    slow, fast = moved(jaw_pose=1e-3), moved(jaw_pose=1e-2)
    assert fast[0] == pytest.approx(slow[0])
    assert fast[1] == pytest.approx(10 * slow[1], rel=1e-3)  # Adam's first step is the rate itself


def test_starts_take_from_the_target_what_they_name(source, target):
    code = start_code(source.parameters, target.parameters, "pose+jaw")
    for block in ("global_pose", "jaw_pose", "lighting"):
        assert torch.equal(code.get(block), target.parameters.get(block))
    for block in ("shape", "albedo", "expression", "eye_pose"):
        assert torch.equal(code.get(block), source.parameters.get(block))
    assert torch.equal(code.camera.code(), target.parameters.camera.code())
    kept = start_code(source.parameters, target.parameters, "nothing")
    assert torch.equal(kept.camera.code(), source.parameters.camera.code())
    assert torch.equal(kept.lighting, target.parameters.lighting)


def test_starts_that_do_not_differ_count_once(source, target):
    codes = [face.parameters.replace(jaw_pose=None) for face in (source, target)]
    assert len(distinct_starts(*codes, STARTS)) == 4
    assert len(distinct_starts(source.parameters, target.parameters, STARTS)) == 8
    with pytest.raises(UnknownNameError, match="Did you mean 'expression'"):
        start_code(source.parameters, target.parameters, "expresion")


def test_camera_as_unknown_goes_there_and_back():
    code = FaceParameters(camera=WeakPerspectiveCamera(torch.tensor([8.0]), torch.tensor([[0.01, 0.02]])))
    unknowns = Unknowns.of(code, ["camera"])
    values = unknowns.values(code)
    assert values["camera"].shape == (1, 3)
    assert torch.allclose(unknowns.code(code, values).camera.code(), code.camera.code())
    moved = unknowns.code(code, {"camera": values["camera"] + 1}).camera.code()
    assert torch.allclose(moved, code.camera.code() + 0.02)


def test_who_is_adversarial():
    def judgement(judge, witness):
        return Judgement(Reading(judge), None if witness is None else Reading(witness), None)

    before = judgement(1.0, 0.8)
    assert is_adversarial(before, judgement(0.5, 0.9)) is True
    assert is_adversarial(before, judgement(0.5, 0.7)) is False
    assert is_adversarial(before, judgement(1.0, 0.9)) is False  # the judge is not pleased either
    assert is_adversarial(before, judgement(0.5, None)) is None


def test_judgements_are_those_of_both_backbones(method, source, target):
    witness = Others()
    result = optimise(method, source, target, judge=Patches(), witness=witness, **FEW)
    assert (result.judge, result.witness) == ("Patches", "Others")
    code, photo = result.code, result.energy.photo.image
    with torch.no_grad():
        picture = method.render(method.face_model(code), code, (48, 48)).image
        a, b = (witness(image).features["view"][0] for image in (picture, photo))
    seen = result.best.after.witness
    assert seen.distance == pytest.approx(((a - b).norm() / b.norm()).item(), rel=1e-4)
    assert seen.expression == witness.labels[int(a[:2].argmax())]
    assert result.best.after.landmark_error is not None
    assert result.capture.quality.figures["landmark_error"] == pytest.approx(result.best.after.landmark_error, rel=1e-3)


def test_the_capture_is_the_best_face(method, source, target, tmp_path):
    result = optimise(method, source, target, judge=Patches(), **FEW)
    assert torch.equal(result.capture.parameters.expression, result.code.expression)
    assert torch.equal(result.capture.parameters.shape, source.parameters.shape)
    assert (tmp_path / "face.glb") in result.capture.save(tmp_path, ["glb"])


def test_terms_of_the_registry(method, source, target):
    terms = {
        "features": {"uses": "emotion_consistency", "weight": 2.0, "params": {"metric": "cosine"}},
        "valence": {"uses": "emotion_consistency", "params": {"features": 0, "valence": 1}},
        "jaw": {"uses": "jaw_prior", "weight": 0.5, "params": {"reference": [0.1, 0, 0], "angles": "euler"}},
        "landmarks": {"uses": "landmark_reprojection", "as": "metric"},
    }
    result = optimise(method, source, target, terms, ["expression", "jaw_pose"], judge=Patches(), **FEW)
    history = result.history
    assert list(history) == [ENERGY, *terms]
    total = 2 * history["features"] + history["valence"] + 0.5 * history["jaw"]
    assert torch.allclose(history[ENERGY], total, atol=1e-6)


def test_wrong_questions_get_one_line(method, source, target):
    def ask(*args, **options):
        return optimise(method, source, target, *args, **{"judge": Patches(), **FEW, **options})

    with pytest.raises(UnknownNameError, match="Did you mean 'expression'"):
        ask(unknowns=["expresion"])
    with pytest.raises(RecipeError, match="no term depends on albedo"):
        ask({"landmarks": {"uses": "landmark_reprojection"}}, ["expression", "albedo"])
    with pytest.raises(ParamsError, match="a learning rate for jaw_pose, which is not unknown"):
        ask(learning_rates={"jaw_pose": 0.1})
    with pytest.raises(ParamsError, match="lbfgs has one step"):
        ask(learning_rates={"expression": 0.1}, optimizer="lbfgs")
    with pytest.raises(ParamsError, match="stepps"):
        ask(stepps=3)
    with pytest.raises(RecipeError, match="has no wrinkles"):
        ask(detail=True)
    with pytest.raises(UnknownNameError, match="is the judge itself"):
        ask(witness=Patches())
    with pytest.raises(RecipeError, match="nothing to optimise"):
        ask(unknowns=[])


def test_wrinkles_are_optimised(method, source, target):
    """With a detail part whose weights are random: a wrinkle code still moves the picture that the judge sees."""
    untrained = {"detail": {"uses": "deca", "preset": "open_small", "params": {"weights": "random"}, "untrained": True}}
    torch.manual_seed(0)
    small = {"face_model": {"params": {"texture_size": 64}}}
    wrinkled = load_method("open_fit", change={**small, **untrained}, device="cpu")
    faces = [one_face(wrinkled, PHOTOS / f"{name}.jpg") for name in ("grace_hopper", "astronaut")]
    result = optimise(
        wrinkled, *faces, unknowns=["detail"], judge=Patches(), detail=True, size=64, steps=6, learning_rate=3.0
    )
    first, best = result.best.first, result.code
    assert result.best.trajectory.best > 0 and not torch.equal(first.detail, best.detail)
    assert torch.equal(first.expression, best.expression)
    before, after = result.best.energies
    assert after < before - 1e-5  # sums of float32 are exact to 1e-6
    maps = [wrinkled.detail.decode(code) for code in (first, best)]
    assert (maps[0] - maps[1]).abs().max() > 0
    with pytest.raises(RecipeError, match="no term depends on detail"):
        optimise(wrinkled, *faces, unknowns=["detail"], judge=Patches(), size=64, steps=2)


def test_a_method_without_a_camera_makes_no_picture(method, target):
    settings = OptimisationSettings(**FEW)
    blocks = {name: size for name, size in method.encoder.blocks.items() if name != "camera"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method.encoder, "blocks", blocks)
        with pytest.raises(RecipeError, match="estimates no camera"):
            Energy.of(method, Patches(), default_terms(target.parameters), crop_of(method, target), settings)
