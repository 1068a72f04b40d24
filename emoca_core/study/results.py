"""From answers to figures: who counts, matrices, accuracies with intervals, agreement, paired tests."""

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from emoca_core.errors import EmocaError
from emoca_core.measures.intervals import holm, interval_of
from emoca_core.measures.metrics import confusion_matrix
from emoca_core.measures.raters import crossed_weights, krippendorff_alpha, resampled_share, sign_flip_test
from emoca_core.study.design import PHOTO, Study, read_study
from emoca_core.study.store import Answer, Participant, ParticipantKind, Store, is_try

Target = Literal["photo", "truth"]
"""What a label is compared with: the same participant's label of the photo, or what the photo is known to show."""


@dataclass(frozen=True)
class Rule:
    """Whose answers count.

    Attributes:
        kind: People, or machines; people by default where there are any.
        missed_catch: Whoever misses more catch trials than this is left out.
        unfinished: Whether those who have not finished count as well.
        draws: Resamples of an interval.
        seed: Of the resamples.
    """

    kind: ParticipantKind | None = None
    missed_catch: int = 1
    unfinished: bool = False
    draws: int = 4000
    seed: int = 0

    @property
    def text(self) -> str:
        """In words."""
        catch = f"whoever missed more than {self.missed_catch} catch trial{'s' * (self.missed_catch != 1)} is left out"
        return catch + ("; those who have not finished count" if self.unfinished else ", and whoever has not finished")


@dataclass(frozen=True)
class Rater:
    """A participant, as published: people have a number that tells nothing.

    Attributes:
        alias: Their name.
        missed: Catch trials with another answer than the right one.
        seconds: From the consent to the last answer; ``None`` for those who have not finished.
        left_out: Why they do not count; ``None`` for those who do.
    """

    alias: str
    missed: int
    seconds: float | None
    left_out: str | None


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """How often what is shown is labelled as its target.

    Attributes:
        shows: The photo, or a method.
        target: What is right.
        share: Right answers among all.
        count: Answers.
    """

    shows: str
    target: Target
    share: Estimate
    count: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same pictures, by the same people.

    Attributes:
        first: The one.
        second: The other.
        target: What is right.
        difference: Accuracy of the first minus that of the second.
        over_people: p value of a paired test with people as units; NaN for one.
        over_pictures: p value of a paired test with faces as units.
        p_value: The larger of both, corrected for the number of comparisons (Holm).
    """

    first: str
    second: str
    target: Target
    difference: Estimate
    over_people: float
    over_pictures: float
    p_value: float


@dataclass(frozen=True)
class Matrix:
    """One figure of the paper.

    Attributes:
        figure: 5, 6 or 7, as in the paper's supplementary.
        shows: What was labelled: the photo, or a method.
        rows: Labels of the photo (figure 5), or known expressions.
        counts: Answers: row = as in ``rows``, column = label.
    """

    figure: int
    shows: str
    rows: tuple[str, ...]
    counts: Int[ndarray, "Q C"]


@dataclass(frozen=True)
class StudyResults:
    """Everything that a report shows.

    Attributes:
        study: What was shown.
        rule: Whose answers count.
        kind: People or machines.
        raters: All of that kind who began.
        labels: Choice of each rater that counts for each face and condition; -1 where there is none.
        milliseconds: How long each took; -1 where there is no answer.
        truth: Known expression of each face; -1 where unknown.
        matrices: The figures.
        accuracies: Of the photos and of each method.
        comparisons: Each pair of methods.
        agreement: Krippendorff's alpha of each condition.
    """

    study: Study
    rule: Rule
    kind: ParticipantKind
    raters: tuple[Rater, ...]
    labels: Int[ndarray, "I P K"]
    milliseconds: Int[ndarray, "I P K"]
    truth: Int[ndarray, "P"]
    matrices: tuple[Matrix, ...]
    accuracies: tuple[Accuracy, ...]
    comparisons: tuple[Comparison, ...]
    agreement: dict[str, Estimate]

    @property
    def counted(self) -> list[Rater]:
        """Those whose answers count, in the order of ``labels``."""
        return [rater for rater in self.raters if rater.left_out is None]


def study_results(folder: Path, rule: Rule | None = None) -> StudyResults:
    """Read the answers of a study, and compute everything.

    Raises:
        EmocaError: Nobody has answered, or nobody counts.

    Example: ``study_results(Path("study")).accuracies[0].share``
    """
    rule = rule or Rule()
    study = read_study(folder)
    with Store.open(folder, study) as store:
        participants, answers = store.participants(), store.answers()
    kind = rule.kind or ("person" if any(one.kind == "person" for one in participants) else "machine")
    chosen = [one for one in participants if one.kind == kind]
    if not chosen:
        raise EmocaError(f"{folder}: nobody has taken part yet (`emoca study serve {folder}` lets people in)")
    raters = _judged(study, chosen, answers, rule)
    counted = [one for one in chosen if raters[one.number].left_out is None]
    if not counted:
        reasons = Counter(rater.left_out for rater in raters.values())
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise EmocaError(f"{folder}: no participant counts yet ({why}); see --unfinished, --missed-catch and --of")
    order = sorted(counted, key=lambda one: raters[one.number].alias)
    labels, milliseconds = _label_table(study, order, answers)
    truth = np.array([-1 if face.label is None else study.choices.index(face.label) for face in study.faces])
    compare = _Comparing(study, labels, truth, rule)
    return StudyResults(
        study=study,
        rule=rule,
        kind=kind,
        raters=tuple(sorted(raters.values(), key=lambda rater: rater.alias)),
        labels=labels,
        milliseconds=milliseconds,
        truth=truth,
        matrices=tuple(_matrices(study, labels, truth)),
        accuracies=tuple(compare.accuracies()),
        comparisons=tuple(compare.comparisons()),
        agreement=compare.agreement(),
    )


def _judged(
    study: Study, participants: Sequence[Participant], answers: Sequence[Answer], rule: Rule
) -> dict[int, Rater]:
    """What each participant is called in public, and whether they count."""
    missed = Counter(
        one.participant for one in answers if one.trial.kind == "catch" and one.answer != one.trial.expected
    )
    key = bytes.fromhex(study.key)
    shuffled = sorted(participants, key=lambda one: hmac.digest(key, one.name.encode(), hashlib.sha256))
    raters = {}
    for place, one in enumerate(shuffled, start=1):
        reason = None
        if is_try(one.name):
            reason = "a try of the experimenter"
        elif missed[one.number] > rule.missed_catch:
            reason = "missed too many catch trials"
        elif not (one.is_finished or rule.unfinished):
            reason = "not finished"
        alias = one.name if one.kind == "machine" else f"p{place:04d}"
        raters[one.number] = Rater(alias, missed[one.number], one.seconds, reason)
    return raters


def _label_table(
    study: Study, participants: Sequence[Participant], answers: Sequence[Answer]
) -> tuple[Int[ndarray, "I P K"], Int[ndarray, "I P K"]]:
    """Labels and milliseconds by participant, face and condition."""
    rows = {one.number: row for row, one in enumerate(participants)}
    places = {one.id: (one.face, study.conditions.index(one.shows)) for one in study.stimuli}
    labels = np.full((len(rows), len(study.faces), len(study.conditions)), -1)
    milliseconds = labels.copy()
    for one in answers:
        if one.trial.kind == "picture" and one.participant in rows and one.trial.picture is not None:
            face, condition = places[one.trial.picture]
            labels[rows[one.participant], face, condition] = study.choices.index(one.answer)
            milliseconds[rows[one.participant], face, condition] = one.milliseconds
    return labels, milliseconds


def _matrices(study: Study, labels: Int[ndarray, "I P K"], truth: Int[ndarray, "P"]) -> Iterator[Matrix]:
    photos, known = labels[:, :, 0], np.broadcast_to(truth, labels.shape[:2])
    for number, method in enumerate(study.methods, start=1):
        yield _matrix(study, 5, method, photos, labels[:, :, number])
    if (truth >= 0).any():
        for number, method in enumerate(study.methods, start=1):
            yield _matrix(study, 6, method, known, labels[:, :, number])
        yield _matrix(study, 7, PHOTO, known, photos)


def _matrix(study: Study, figure: int, shows: str, expected: Int[ndarray, "I P"], given: Int[ndarray, "I P"]) -> Matrix:
    both = (expected >= 0) & (given >= 0)
    counts = confusion_matrix(given[both], expected[both], len(study.choices))
    present = counts.sum(1) > 0
    rows = tuple(name for name, there in zip(study.choices, present, strict=True) if there)
    return Matrix(figure, shows, rows, counts[present])


@dataclass(frozen=True)
class _Comparing:
    """Accuracies, comparisons and agreement on the same resamples of people and faces."""

    study: Study
    labels: Int[ndarray, "I P K"]
    truth: Int[ndarray, "P"]
    rule: Rule

    def accuracies(self) -> Iterator[Accuracy]:
        """Of each method against the photo's label; of photos and methods against what is known."""
        for target, conditions in self._asked():
            for condition in conditions:
                right, seen = self._right(condition, target)
                share = self._estimate(_share(right, seen), resampled_share(right, seen, self._weights))
                yield Accuracy(self.study.conditions[condition], target, share, int(seen.sum()))

    def comparisons(self) -> Iterator[Comparison]:
        """Each pair of methods; people and faces that both were labelled by and of."""
        found = [
            self._compare(one, other, target)
            for target, conditions in self._asked()
            for one, other in combinations([c for c in conditions if c > 0], 2)
        ]
        # the question is asked once of each target, about all pairs
        for target, _ in self._asked():
            pairs = [one for one in found if one.target == target]
            for one, p_value in zip(pairs, holm([one.p_value for one in pairs]), strict=True):
                yield Comparison(**{**vars(one), "p_value": p_value})

    def agreement(self) -> dict[str, Estimate]:
        """Krippendorff's alpha of each condition, with intervals over faces."""
        classes = np.arange(len(self.study.choices))
        estimates = {}
        for condition, name in enumerate(self.study.conditions):
            counts = (self.labels[:, :, condition, None] == classes).sum(0)
            twice = counts.sum(1) > 1
            if not twice.any():
                estimates[name] = Estimate(math.nan, math.nan, math.nan)
                continue
            _, weights = crossed_weights(1, int(twice.sum()), self.rule.draws, self.rule.seed)
            resampled = np.asarray(krippendorff_alpha(counts[twice], weights))
            estimates[name] = self._estimate(float(krippendorff_alpha(counts)), resampled)
        return estimates

    def _asked(self) -> list[tuple[Target, range]]:
        conditions = len(self.study.conditions)
        known: list[tuple[Target, range]] = [("truth", range(conditions))] if (self.truth >= 0).any() else []
        return [("photo", range(1, conditions)), *known]

    def _right(self, condition: int, target: Target) -> tuple[Bool[ndarray, "I P"], Bool[ndarray, "I P"]]:
        """Whether each label is right, and whether it is there together with what it is compared with."""
        given = self.labels[:, :, condition]
        expected = self.labels[:, :, 0] if target == "photo" else np.broadcast_to(self.truth, given.shape)
        seen = (given >= 0) & (expected >= 0)
        return seen & (given == expected), seen

    def _compare(self, one: int, other: int, target: Target) -> Comparison:
        (first, seen_first), (second, seen_second) = self._right(one, target), self._right(other, target)
        both = seen_first & seen_second
        gaps = np.where(both, first.astype(float) - second, 0.0)
        weights = self._weights
        resampled = resampled_share(first, both, weights) - resampled_share(second, both, weights)
        people = sign_flip_test(gaps.sum(1)) if len(gaps) > 1 else math.nan
        pictures = sign_flip_test(gaps.sum(0))
        return Comparison(
            self.study.conditions[one],
            self.study.conditions[other],
            target,
            self._estimate(_share(first & both, both) - _share(second & both, both), resampled),
            people,
            pictures,
            pictures if math.isnan(people) else max(people, pictures),
        )

    @cached_property
    def _weights(self) -> tuple[ndarray, ndarray]:
        people, faces = self.labels.shape[:2]
        return crossed_weights(people, faces, self.rule.draws, self.rule.seed)

    def _estimate(self, value: float, resampled: Float[ndarray, "R"]) -> Estimate:
        return Estimate(value, *interval_of(resampled))


def _share(right: Bool[ndarray, "I P"], seen: Bool[ndarray, "I P"]) -> float:
    return float(right.sum() / seen.sum()) if seen.any() else math.nan
