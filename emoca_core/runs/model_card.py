"""The texts of a package: a model card as the Hugging Face hub expects it, the licences, the recipe."""

from collections.abc import Iterator, Mapping

import yaml

from emoca_core.measures.tables import markdown_table
from emoca_core.runs.cards import Asset, PackageCard

_SOURCE = "EMOCA (Daněček et al., CVPR 2022)"


def model_card(card: PackageCard) -> str:
    """README.md: front matter that the hub reads, then what a person wants to know before using it."""
    front = {
        "library_name": "emoca-core",
        "license": "other",
        "license_name": "union-of-its-parts",
        "license_link": "LICENSES.md",
        "pipeline_tag": "image-to-3d",
        "tags": ["3d-face", "face-capture", "face-reconstruction", "emotion", "emoca"],
    }
    return "---\n" + yaml.safe_dump(front, sort_keys=False) + "---\n\n" + "\n".join(_body(card))


def _body(card: PackageCard) -> Iterator[str]:
    name = card.name
    yield f"# {name}\n\n{card.summary}\n"
    yield f"3D faces from photos, with EMOCA Core. Trained after {_SOURCE} from the recipe `{card.trained_from}`.\n"
    yield "```sh\nemoca reconstruct photo.jpg --recipe OWNER/" + name + " --out faces\n```\n"
    yield "`OWNER/" + name + "` is this repository on the hub; the path of a downloaded copy works as well.\n"
    parts = [(kind, use.uses) for kind, use in card.recipe.parts().items()]
    yield "## Parts\n\n" + markdown_table([("part", "component"), *parts])
    yield "\n## You bring\n"
    yield from (_brought(card.assets) if card.assets else ["Nothing: everything is open or in this folder.\n"])
    yield f"## Validation\n\nBest step ({card.step}) of the {card.stage} stage.\n"
    metrics = [(m, "undefined" if value is None else f"{value:.4g}") for m, value in sorted(card.metrics.items())]
    yield markdown_table([("metric", "value"), *metrics])
    runs = [(run.run, run.name, run.stage, str(run.step), run.commit or "unknown") for run in card.trainings]
    yield "\n## Training\n\n" + markdown_table([("run", "recipe", "stage", "step", "commit"), *runs])
    weights = card.weights
    yield (
        f"\n`{weights.file}`: {weights.tensors} tensors, {weights.values:,} values, sha256 "
        f"`{weights.sha256}`. `card.json` holds settings, versions, hardware and hashes.\n"
    )


def _brought(assets: Mapping[str, Asset]) -> Iterator[str]:
    yield "These files are not part of this folder. `emoca assets add FILE` recognises them.\n"
    rows = [(name, asset.sha256, asset.license, asset.obtain) for name, asset in assets.items()]
    yield markdown_table([("file", "sha256", "licence", "where"), *rows]) + "\n"


def licences_text(card: PackageCard) -> str:
    """LICENSES.md: all of them bind the user."""
    lines = [
        f"# Licences of {card.name}",
        "",
        "The weights were trained with the parts below. All of these licences bind whoever uses them; weights that",
        "started from published ones inherit their licence. This is not legal advice.",
        "",
        markdown_table([("part", "licence"), *card.licenses.items()]),
    ]
    return "\n".join(lines) + "\n"


def registry_text(card: PackageCard) -> str:
    """registry.yaml with the recipe alone: to look at, and to start other trainings from."""
    content = {"version": 1, "recipes": {card.name: {**card.recipe.plain(), "trained": "."}}}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=116)
