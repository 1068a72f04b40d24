"""``result.json``: what an optimisation came to."""

from typing import Literal

import torch
from pydantic import BaseModel

from emoca_core.interfaces import FaceParameters
from emoca_core.method import Method
from emoca_core.optimisation.judgement import Judgement, Reading
from emoca_core.optimisation.optimisation import Optimisation, Run
from emoca_core.optimisation.unknowns import Unknowns

RESULT = "result.json"


class ReadingRecord(BaseModel):
    """What an emotion backbone sees; see ``Reading``."""

    distance: float
    expression: str | None
    valence: float | None
    arousal: float | None


class JudgementRecord(BaseModel):
    """What is thought of one face; see ``Judgement``."""

    energy: float
    judge: ReadingRecord
    witness: ReadingRecord | None
    landmark_error: float | None


class RunRecord(BaseModel):
    """One start."""

    start: str
    steps: int
    best_step: int
    stopped: str
    before: JudgementRecord
    after: JudgementRecord
    adversarial: bool | None


class SpreadRecord(BaseModel):
    """How far the end points of several starts lie apart."""

    energy: float
    """Largest minus least."""
    code: float
    """Root mean square difference of the unknown numbers, all pairs, standard deviations."""
    vertices_mm: float
    """Mean distance of the vertices, all pairs, millimetres; in one head pose."""


class ResultRecord(BaseModel):
    """``result.json``."""

    format: Literal["emoca-optimisation-1"] = "emoca-optimisation-1"
    fingerprint: str
    source: str
    target: str
    recipe: str
    judge: str
    witness: str | None
    unknowns: list[str]
    terms: dict[str, dict[str, object]]
    settings: dict[str, object]
    target_seen: dict[str, ReadingRecord | None]
    best: int
    adversarial: bool | None
    runs: list[RunRecord]
    spread: SpreadRecord | None


def record_of(result: Optimisation, fingerprint: str, terms: dict[str, dict[str, object]]) -> ResultRecord:
    """What ``result.json`` says."""
    photo = result.target_seen
    return ResultRecord(
        fingerprint=fingerprint,
        source=result.source.photo.path.name,
        target=result.target.photo.path.name,
        recipe=result.method.name,
        judge=result.judge,
        witness=result.witness,
        unknowns=list(result.unknowns),
        terms=terms,
        settings=result.energy.settings.model_dump(mode="json"),
        target_seen={"judge": _reading(photo.judge), "witness": _reading_of(photo.witness)},
        best=result.runs.index(result.best),
        adversarial=result.best.adversarial,
        runs=[_run(run) for run in result.runs],
        spread=spread_of(result) if len(result.runs) > 1 else None,
    )


def _run(run: Run) -> RunRecord:
    before, after = run.energies
    return RunRecord(
        start=run.start,
        steps=len(next(iter(run.trajectory.history.values()))) - 1,
        best_step=run.trajectory.best,
        stopped=run.trajectory.stopped,
        before=_judgement(run.before, before),
        after=_judgement(run.after, after),
        adversarial=run.adversarial,
    )


def _judgement(judgement: Judgement, energy: float) -> JudgementRecord:
    return JudgementRecord(
        energy=energy,
        judge=_reading(judgement.judge),
        witness=_reading_of(judgement.witness),
        landmark_error=judgement.landmark_error,
    )


def _reading(reading: Reading) -> ReadingRecord:
    return ReadingRecord(**vars(reading))


def _reading_of(reading: Reading | None) -> ReadingRecord | None:
    return None if reading is None else _reading(reading)


def spread_of(result: Optimisation) -> SpreadRecord:
    """How far the end points of the starts lie apart."""
    energies = [run.energies[1] for run in result.runs]
    codes = FaceParameters.cat([run.best for run in result.runs])
    unknowns = Unknowns.of(codes, result.unknowns)
    numbers = torch.cat([*unknowns.values(codes).values()], 1)
    first, second = torch.triu_indices(len(numbers), len(numbers), 1)
    return SpreadRecord(
        energy=max(energies) - min(energies),
        code=float((numbers[first] - numbers[second]).square().mean(1).sqrt().mean()),
        vertices_mm=1000 * float(_vertex_distances(result.method, codes)[first, second].mean()),
    )


@torch.no_grad()
def _vertex_distances(method: Method, codes: FaceParameters) -> torch.Tensor:
    """Mean distance of the vertices of every two faces in one head pose, metres."""
    blocks = {name: codes.get(name) for name in ("global_pose", "neck_pose")}
    still = {name: torch.zeros_like(block) for name, block in blocks.items() if isinstance(block, torch.Tensor)}
    posed = codes.replace(**still).map(lambda tensor: tensor.to(method.device))
    vertices = method.face_model(posed).vertices.cpu()
    return (vertices[:, None] - vertices[None]).norm(dim=-1).mean(-1)
