"""An optimisation as a folder: figures, pictures, film, page, and the face."""

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emoca_core.claims import Claim
from emoca_core.errors import EmocaError, OutputError
from emoca_core.export.codes import read_codes, write_codes
from emoca_core.files import delete_made, json_text, none_left_empty, write_json, write_text, writing_to
from emoca_core.interfaces import Block, CapturedFace, EmotionBackbone, FaceParameters
from emoca_core.method import Method
from emoca_core.optimisation.film import write_film
from emoca_core.optimisation.optimisation import Optimisation, optimise
from emoca_core.optimisation.page import write_page
from emoca_core.optimisation.pictures import Row, draw_sheet
from emoca_core.optimisation.record import RESULT, JudgementRecord, ReadingRecord, ResultRecord, record_of
from emoca_core.parsing import read_record
from emoca_core.reconstruction.results import delete_unfinished, fingerprint_of, is_stopped, unfinished_folder
from emoca_core.reconstruction.saving import build_exporters, save_face
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.runs.trained_part import sha256_of_tensors

DEFAULT_WRITE = ("glb", "codes", "overlay")
SHEET, FILM, HISTORY, PAGE, FACE = "faces.png", "film.mp4", "history.csv", "index.html", "face"
FIRST, BEST, WAY = "first.safetensors", "best.safetensors", "way.safetensors"
NAMES = (RESULT, SHEET, FILM, HISTORY, PAGE, FACE, FIRST, BEST, WAY)


@dataclass(frozen=True)
class Plan:
    """One optimisation that goes to a folder.

    Attributes:
        terms: By name, as ``losses`` of a recipe.
        unknowns: Blocks of the face code.
        judge: Emotion backbone of the energy.
        witness: Another one; ``None`` for whoever is at hand.
        starts: What the target gives at first.
        settings: Fields of ``OptimisationSettings``.
        write: Names of exporters for the best face.
        film: Whether to write the film.
    """

    terms: Mapping[str, object]
    unknowns: Sequence[Block]
    judge: str
    witness: str | None
    starts: Sequence[str]
    settings: Mapping[str, object]
    write: Sequence[str] = DEFAULT_WRITE
    film: bool = True


def optimise_to_folder(
    method: Method,
    source: CapturedFace,
    target: CapturedFace,
    plan: Plan,
    out: Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> ResultRecord:
    """Optimise, and write everything; what is finished with the same photos and settings is read instead.

    Args:
        method: What captured both faces.
        source: Whose face it is.
        target: Whose expression it is.
        plan: What to optimise.
        out: The folder.
        overwrite: Do it again.
        say: Told what is not done again.

    Raises:
        EmocaError: What ``optimise`` raises.
        OutputError: The folder cannot be written, or holds somebody else's files of these names.
    """
    fingerprint = _fingerprint(method, source, target, plan)
    with writing_to(out), none_left_empty(out):
        out.mkdir(parents=True, exist_ok=True)
        with Claim.wait(out, lambda: say(f"waiting for another process, which works on {out}")):
            done = finished(out)
            if done is not None and done.fingerprint == fingerprint and not overwrite:
                say(f"{out}: finished before (--overwrite does it again)")
                return done
            refuse_others(out)
            stopped = is_stopped(out, fingerprint)
            unfinished = unfinished_folder(out, fingerprint)
            try:
                result = optimise(
                    method,
                    source,
                    target,
                    plan.terms,
                    plan.unknowns,
                    judge=plan.judge,
                    witness=plan.witness,
                    starts=plan.starts,
                    progress=True,
                    kept=unfinished,
                    **plan.settings,
                )
            except EmocaError:
                if not stopped:
                    delete_made(unfinished)
                raise
            record = record_of(result, fingerprint, _plain(plan.terms))
            for name in (RESULT, FILM):  # so that a stop from here on leaves no mark of completion
                (out / name).unlink(missing_ok=True)
            _write(result, record, plan, out)
            delete_unfinished(out)
    return record


def finished(out: Path) -> ResultRecord | None:
    """What an earlier run came to; ``None`` where it was not finished."""
    try:
        return read_record(out / RESULT, ResultRecord)
    except EmocaError:
        return None


def rows_of(out: Path, record: ResultRecord, names: Sequence[str] | None = None) -> list[Row]:
    """Rows of the sheet, from a finished folder: one for each start, or the best one alone under a given name."""
    first, best = read_codes(out / FIRST), read_codes(out / BEST)
    chosen = range(len(record.runs)) if names is None else [record.best]
    return [
        Row(
            record.runs[run].start if names is None else names[number],
            first.map(lambda t, r=run: t[r : r + 1]),  # type: ignore[misc]
            best.map(lambda t, r=run: t[r : r + 1]),  # type: ignore[misc]
            facts_of(record.runs[run].before),
            [*facts_of(record.runs[run].after), f"step {record.runs[run].best_step} of {record.runs[run].steps}"],
            "adversarial" if record.runs[run].adversarial else "",
        )
        for number, run in enumerate(chosen)
    ]


def facts_of(judged: JudgementRecord) -> list[str]:
    """What is thought of a face, in short lines."""
    lines = [f"energy {judged.energy:.3f}", _line("judge", judged.judge)]
    if judged.witness is not None:
        lines.append(_line("witness", judged.witness))
    if judged.landmark_error is not None:
        lines.append(f"landmarks {100 * judged.landmark_error:.1f} %")
    return lines


def _line(who: str, seen: ReadingRecord) -> str:
    return f"{who} {seen.distance:.3f}" + (f", {seen.expression}" if seen.expression else "")


def _write(result: Optimisation, record: ResultRecord, plan: Plan, out: Path) -> None:
    """Everything, the record last."""
    write_codes(out / FIRST, FaceParameters.cat([run.first for run in result.runs]))
    write_codes(out / BEST, FaceParameters.cat([run.best for run in result.runs]))
    write_codes(out / WAY, result.best.trajectory.codes)
    write_text(out / HISTORY, _history(result))
    files = save_face(result.capture, out / FACE, [*build_exporters(plan.write).values()])
    method = result.method
    draw_sheet(method, result.source, result.target, rows_of(out, record), out / SHEET)
    if plan.film:
        write_film(method, result.source, result.target, result.best.trajectory, out / FILM)
    links = [*(file.relative_to(out) for file in files), Path(HISTORY), Path(RESULT)]
    histories = [(run.start, run.trajectory.history) for run in result.runs]
    write_page(out / PAGE, record, histories, links, film=plan.film)
    write_json(out / RESULT, record.model_dump(mode="json"))


def refuse_others(out: Path, names: Sequence[str] = NAMES) -> None:
    """Refuse a folder that holds files of these names, and no optimisation of ours, finished or stopped.

    Raises:
        OutputError: It does.
    """
    there = [name for name in names if os.path.lexists(out / name)]
    if not there or finished(out) is not None:
        return
    if RESULT in there or not any(is_stopped(each) or finished(each) is not None for each in (out, *out.glob("*/"))):
        raise OutputError(f"{out / there[0]} is damaged, or not of `emoca optimise`: move it, or choose another --out")


def _history(result: Optimisation) -> str:
    """Every term at every step of every start, as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [*result.history]
    table.writerow(["start", "step", *names])
    for run in result.runs:
        columns = [run.trajectory.history[name].tolist() for name in names]
        table.writerows([run.start, step, *values] for step, values in enumerate(zip(*columns, strict=True)))
    return text.getvalue()


def _fingerprint(method: Method, source: CapturedFace, target: CapturedFace, plan: Plan) -> str:
    backbones = [plan.judge, *([plan.witness] if plan.witness else [])]
    facts = {
        "faces": [[face.photo.sha256, face.index, face.crop.policy] for face in (source, target)],
        "terms": _plain(plan.terms),
        "backbones": {name: _digest(load_emotion_backbone(name)) for name in backbones},
        "starts": list(plan.starts),
        "unknowns": list(plan.unknowns),
        "settings": dict(plan.settings),
        "film": plan.film,
        "witness": plan.witness,
    }
    return fingerprint_of(method, facts, build_exporters(plan.write))


def _digest(backbone: EmotionBackbone) -> str:
    """Of its parameters and all its weights."""
    return f"{json_text(backbone.params.model_dump(mode='json'))} {sha256_of_tensors(backbone.state_dict())}"


def _plain(terms: Mapping[str, object]) -> dict[str, dict[str, object]]:
    return {name: dict(term) if isinstance(term, Mapping) else {} for name, term in terms.items()}
