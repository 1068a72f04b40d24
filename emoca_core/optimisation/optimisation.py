"""Emotion optimisation: the source's face with the expression that a network sees in the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from emoca_core.errors import UnknownNameError
from emoca_core.interfaces import Block, CapturedFace, EmotionBackbone, FaceParameters
from emoca_core.method import Method
from emoca_core.optimisation.descent import ENERGY, Trajectory, descend
from emoca_core.optimisation.energy import Energy
from emoca_core.optimisation.judgement import Judgement, is_adversarial, judgements
from emoca_core.optimisation.pair import crop_of, one_face
from emoca_core.optimisation.settings import OptimisationSettings
from emoca_core.optimisation.starts import DEFAULT_START, distinct_starts
from emoca_core.optimisation.terms import default_terms
from emoca_core.optimisation.unknowns import Unknowns
from emoca_core.reconstruction.captured import ReconstructedFace
from emoca_core.registry.spec import validated
from emoca_core.runs.backbones import find_witness, load_emotion_backbone

DEFAULT_JUDGE = "open_emotion"


@dataclass(frozen=True)
class Run:
    """What became of one start.

    Attributes:
        start: Its name.
        trajectory: Terms and codes at every step.
        before: What was thought of the first step.
        after: What is thought of the best one.
    """

    start: str
    trajectory: Trajectory
    before: Judgement
    after: Judgement

    @property
    def first(self) -> FaceParameters:
        """The code before the first step: a batch of one."""
        return self._code(0)

    @property
    def best(self) -> FaceParameters:
        """The code with the least energy: a batch of one."""
        return self._code(self.trajectory.best)

    @property
    def energies(self) -> tuple[float, float]:
        """Before, and the least."""
        energy = self.trajectory.history[ENERGY]
        return float(energy[0]), float(energy[self.trajectory.best])

    @property
    def adversarial(self) -> bool | None:
        """Whether the judge is pleased and the witness is not; ``None`` without a witness."""
        return is_adversarial(self.before, self.after)

    def _code(self, step: int) -> FaceParameters:
        return self.trajectory.codes.map(lambda tensor: tensor[step : step + 1])


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """The result of ``optimise``.

    Attributes:
        source: Whose face it is.
        target: Whose expression it is.
        runs: One for each start, in the order asked for.
        method: What captured both.
        energy: What was descended.
        unknowns: Names of the blocks that could change.
        judge: Name of the emotion backbone of the energy.
        witness: Name of the one that took no part; ``None`` where none is at hand.
        target_seen: What judge and witness see in the target's photo.
    """

    source: CapturedFace
    target: CapturedFace
    runs: tuple[Run, ...]
    method: Method
    energy: Energy
    unknowns: tuple[Block, ...]
    judge: str
    witness: str | None
    target_seen: Judgement

    @property
    def best(self) -> Run:
        """The start that led to the least energy."""
        return min(self.runs, key=lambda run: run.energies[1])

    @property
    def history(self) -> dict[str, torch.Tensor]:
        """Every term of the best start, unweighted, and the energy, at every step: [S] each."""
        return dict(self.best.trajectory.history)

    @property
    def code(self) -> FaceParameters:
        """The best code: a batch of one."""
        return self.best.best

    @property
    def capture(self) -> CapturedFace:
        """The best face in the target's photo, ready for ``save``."""
        return self.captured(self.code)

    def captured(self, code: FaceParameters) -> CapturedFace:
        """A code as a face in the target's photo."""
        method, face = self.method, self.target
        with torch.no_grad():
            on_device = code.map(lambda tensor: tensor.to(method.device))
            geometry = method.face_model(on_device).map(torch.Tensor.cpu)
            displacement = method.detail.decode(on_device).cpu() if method.detail else None
        return ReconstructedFace(
            method=method,
            photo=face.photo,
            index=face.index,
            detection=face.detection,
            crop=face.crop,
            parameters=code,
            geometry=geometry,
            displacement=displacement,
        )


def optimise(
    method: Method,
    source: str | Path | CapturedFace,
    target: str | Path | CapturedFace,
    terms: Mapping[str, object] | None = None,
    unknowns: Sequence[Block] = ("expression",),
    *,
    judge: str | EmotionBackbone = DEFAULT_JUDGE,
    witness: str | EmotionBackbone | None = None,
    starts: Sequence[str] = (DEFAULT_START,),
    progress: bool = False,
    kept: Path | None = None,
    **settings: object,
) -> Optimisation:
    """Give the source the expression that a network sees in the target, by descending an energy of rendered faces.

    The source's identity is rendered with the target's pose, camera and light; by default the expression is unknown,
    and the energy is the paper's. A witness, which takes no part, says whether the emotion came closer for others too.

    Args:
        method: Captures both faces, and decodes and renders the unknown one.
        source: Photo, of which the largest face is taken, or a face that ``reconstruct`` returned.
        target: The same.
        terms: Terms by name, as ``losses`` of a recipe; by default ``default_terms``.
        unknowns: Blocks of the face code.
        judge: Emotion backbone of the energy: built, a name of the catalogue, or a run of ``emoca train emotion``.
        witness: Another one, which takes no part; by default the first of the catalogue whose files are here.
        starts: What the target gives at first; ``STARTS`` has all eight.
        progress: Show a bar.
        kept: Folder that belongs to this optimisation alone: a stopped one goes on from there.
        **settings: Fields of ``OptimisationSettings``.

    Raises:
        ImageError: A photo cannot be read, or shows no face.
        UnknownNameError: There is no such block, backbone or start.
        MissingAssetError: The judge's weights are not here.
        RecipeError: The method makes no picture, a term cannot be computed, or an unknown has no influence.
        ParamsError: A setting is out of range.

    In Python::

        result = optimise(load_method("open_fit"), "me.jpg", "surprised.jpg")
        result.capture.save("me_surprised")
        result.best.energies, result.best.adversarial

    Source: EMOCA (Danecek et al., CVPR 2022), supplementary material, section 4.
    """
    chosen = validated(OptimisationSettings, settings, "optimise")
    name, seeing = _named(judge, method.device)
    named = find_witness(name, device=method.device) if witness is None else _named(witness, method.device)
    if named is not None and named[0] == name:
        raise UnknownNameError(f"the witness '{name}' is the judge itself: name another one, or leave it out")
    faces = [face if isinstance(face, CapturedFace) else one_face(method, face) for face in (source, target)]
    codes = [face.parameters.map(lambda tensor: tensor.to(method.device)) for face in faces]
    unknown = Unknowns.of(codes[1], unknowns)
    begun = distinct_starts(codes[0], codes[1], starts)
    wanted = default_terms(codes[1]) if terms is None else terms
    energy = Energy.of(method, seeing, wanted, crop_of(method, faces[1]), chosen)
    ways = descend(energy, unknown, FaceParameters.cat([*begun.values()]), chosen, hidden=not progress, kept=kept)
    runs, photo = _judged(energy, dict(zip(begun, ways, strict=True)), seeing, named and named[1])
    return Optimisation(
        source=faces[0],
        target=faces[1],
        runs=runs,
        method=method,
        energy=energy,
        unknowns=unknown.blocks,
        judge=name,
        witness=named and named[0],
        target_seen=photo,
    )


def _named(backbone: str | EmotionBackbone, device: torch.device) -> tuple[str, EmotionBackbone]:
    """A backbone and what it is called."""
    if isinstance(backbone, str):
        return backbone, load_emotion_backbone(backbone, device)
    return type(backbone).__name__, backbone.eval().requires_grad_(False).to(device)


def _judged(
    energy: Energy, ways: Mapping[str, Trajectory], judge: EmotionBackbone, witness: EmotionBackbone | None
) -> tuple[tuple[Run, ...], Judgement]:
    """What is thought of the first and of the best step of every start, and of the photo."""
    codes = [way.codes.map(lambda t, s=step: t[s : s + 1]) for way in ways.values() for step in (0, way.best)]  # type: ignore[misc]
    device = energy.method.device
    with torch.no_grad():
        capture = energy.captures(FaceParameters.cat(codes).map(lambda tensor: tensor.to(device)))
    rows, photo = judgements(capture, judge, witness)
    pairs = zip(rows[::2], rows[1::2], strict=True)
    runs = tuple(Run(start, way, *pair) for (start, way), pair in zip(ways.items(), pairs, strict=True))
    return runs, photo
