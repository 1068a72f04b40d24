"""What refinements of one training each reach: shared by the benchmarks of seeds and of ablations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.encoded_methods import Faces, regressed_by
from benchmarks.face_measures import BATCH, OVER, Measured, classes_of, linear
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.progress import progress_bar
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.refined_fit import RefinedFit

WITNESSES = ("face_api_expression", "fer_mini_xception")
WITNESSES_OF_FREE = ("fer_mini_xception", "open_emotion")
"""Of ``open_emoca_fit_free``, whose judge is kin of ``face_api_expression``."""
DRAWN = 1000
"""Faces of FER2013's validation part that are drawn for the witnesses."""


@dataclass(frozen=True)
class Judged:
    """Faces before a refinement, and what its judge sees in their photos.

    Attributes:
        faces: The faces.
        features: Of the judge.
        answers: Class scores, valence and arousal.
    """

    faces: Faces
    features: Tensor
    answers: Tensor

    @classmethod
    def of(cls, faces: Faces, encoder: RefinedFit) -> "Judged":
        """By the judge of a refinement."""
        starts = progress_bar(range(0, len(faces), BATCH), label="judging", unit="batch")
        seen = [encoder.seen(faces.crops(range(at, min(at + BATCH, len(faces))))) for at in starts]
        return cls(faces, *(torch.cat(parts) for parts in zip(*seen, strict=True)))

    @torch.no_grad()
    def moved(self, encoder: RefinedFit) -> Faces:
        """The faces as a refinement moves them."""
        return self.faces.with_code(encoder.moved(self.faces.code, self.features, self.answers))


@dataclass(frozen=True)
class Refinements:
    """Trainings of one recipe on the same faces.

    Attributes:
        measured: The faces, and what measures them.
        recipe: That of the trainings.
        fitted: The faces as ``open_fit`` sees them, by part.
        parts: They before the refinement.
        witnesses: Networks that took no part; the first one sees the web faces too.
    """

    measured: Measured
    recipe: str
    fitted: Mapping[str, Faces]
    parts: Mapping[str, Judged]
    witnesses: Sequence[str] = WITNESSES

    @classmethod
    def of(cls, folder: Path, recipe: str) -> "Refinements":
        """Of ``open_emoca_fit``, ``open_emoca`` or ``open_emoca_fit_free``."""
        measured = Measured.of(folder)
        encoder = refinement_of(measured, recipe)
        fitted = {name: measured.encoded(name, "open_fit_codes") for name in ("fer_train", "fer_validation", "web")}
        faces = {
            name: regressed_by(encoder.fit, own) if recipe == "open_emoca" else own for name, own in fitted.items()
        }
        witnesses = WITNESSES_OF_FREE if recipe == "open_emoca_fit_free" else WITNESSES
        judged = {name: Judged.of(own, encoder) for name, own in faces.items()}
        return cls(measured, recipe, fitted, judged, witnesses)

    def figures_of_open_fit(self) -> dict[str, float]:
        """What ``open_fit`` reaches."""
        return self._figures(*self.fitted.values())

    def figures_of(self, run: Path) -> dict[str, float]:
        """What a run of ``emoca train coarse`` reaches."""
        encoder = refinement_of(self.measured, self.recipe, run / "best.safetensors")
        return self._figures(*(part.moved(encoder) for part in self.parts.values()))

    def _figures(self, training: Faces, tested: Faces, web: Faces) -> dict[str, float]:
        measured, labels, truth = self.measured, classes_of(training), classes_of(tested)
        drawn = tested[np.sort(np.random.default_rng(0).permutation(len(tested))[:DRAWN])]
        shown = linear(measured.shown(training), labels, measured.shown(tested), truth)
        known = web[np.flatnonzero(classes_of(web) >= 0)]
        first, witnesses = self.witnesses[0], self.witnesses
        return {
            "linear probe": float(linear(training.vectors, labels, tested.vectors, truth).mean()),
            "the same on what the face shows": float(shown.mean()),
            **{f"FER2013, grey mesh recognised by `{name}`": recognised(measured, drawn, name) for name in witnesses},
            f"web faces, grey mesh recognised by `{first}`": recognised(measured, known, first),
            "landmark error, web faces": float(measured.landmark_errors(web).mean()),
            **{f"neutral faces of FER2013: {name}": calm(tested, start) for name, start in OVER.items()},
        }


def refinement_of(measured: Measured, recipe: str, weights: Path | None = None) -> RefinedFit:
    """The refinement of a recipe."""
    encoder = measured.encoder(recipe, weights)
    assert isinstance(encoder, RefinedFit)
    return encoder


@torch.no_grad()
def recognised(measured: Measured, faces: Faces, witness: str) -> float:
    """Share of the grey meshes whose class the witness names."""
    judge = load_emotion_backbone(witness)
    columns = [judge.labels.index(label) for label in BASIC_EXPRESSIONS]
    logits = torch.cat([judge(part).logits[:, columns] for part in torch.split(measured.grey(faces), BATCH)])
    return float((logits.argmax(1).numpy() == classes_of(faces)).mean())


def calm(faces: Faces, start: str) -> float:
    """Mean activation on faces that are labelled neutral."""
    rows = np.flatnonzero(classes_of(faces) == BASIC_EXPRESSIONS.index("neutral"))
    columns = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith(start)]
    assert faces.code.expression is not None
    return float(faces.code.expression[rows][:, columns].mean())
