"""What people want to know of a retargeting, in a few short lines."""

from collections.abc import Iterator, Sequence

from emoca_core.retargeting.measures import Measures
from emoca_core.retargeting.retargeted_sequence import RetargetedSequence


def facts_of(sequence: RetargetedSequence, measures: Measures, more: Sequence[str] = ()) -> list[str]:
    """For the page.

    Args:
        sequence: The retargeting.
        measures: What was measured of it.
        more: Further lines.
    """
    seconds, movement = float(sequence.times[-1] - sequence.times[0]), sequence.movement
    how = "by ARKit names" if movement.across else "by codes of one face model"
    rest = ""
    if movement.rest is not None:
        rest = f", relative to the driver's rest at {sequence.times[movement.rest.row]:.2f} s"
        if movement.rest.mouth < 1:
            rest += f" (its lips are apart: {movement.rest.mouth:.0%} of the mouth)"
    lines = [f"{len(sequence)} frames, {seconds:.1f} s, {how}{rest}"]
    lines += [*_emotion(measures), *_identity(measures), *_lips(measures)]
    return [*lines, f"wrinkles: {sequence.wrinkles}", *sequence.driving.notes, *more]


def _emotion(measures: Measures) -> Iterator[str]:
    found = measures.emotion
    if found is None:
        yield f"emotion not measured: {measures.missing.get('emotion', 'not asked for')}"
        return
    asked = found.get("asked")
    if isinstance(asked, dict):
        yield (
            f"{asked['emotion']} recognised in {asked['recognised']:.0%} of the frames that show it, probability "
            f"{asked['probability']:.2f} (face at rest: {asked['probability_unmoved']:.2f}); witness {found['witness']}"
        )
    if "distance" in found:
        yield (
            f"emotion {found['distance']:.2f} from the driver's (face at rest: {found['distance_unmoved']:.2f}; 0 is "
            f"the same, 1 the greatest), same class in {found['agreement']:.0%} of the frames; witness "
            f"{found['witness']}"
        )


def _identity(measures: Measures) -> Iterator[str]:
    if measures.identity is not None:
        yield (
            f"identity {measures.identity['mean']:.3f} from the source's own rendering (1 - cosine of "
            f"{measures.identity['recognition']})"
        )
    else:
        yield f"identity not measured: {measures.missing.get('identity', 'not asked for')}"


def _lips(measures: Measures) -> Iterator[str]:
    lips = measures.lips
    if lips is None:
        return
    gap, shut = lips["open_where_closed_mm"], ""
    if isinstance(gap, float):
        shut = f"; where those are shut: {abs(gap):.1f} mm {'farther apart' if gap > 0 else 'nearer'} than at rest"
    yield f"lips {lips['error_mm']:.1f} mm nearer or farther than the driver's{shut}"
