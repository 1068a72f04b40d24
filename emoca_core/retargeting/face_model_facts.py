"""Whether codes belong to a face model: its name, and the files behind it."""

from collections.abc import Mapping

from emoca_core.method import Method
from emoca_core.reconstruction.captured import describe_assets


def face_model_facts(method: Method) -> Mapping[str, object]:
    """Name of a method's face model, and hashes of the files behind it."""
    own = set(method.face_model.asset_paths)
    assets = {name: facts["sha256"] for name, facts in describe_assets(method).items() if name in own}
    return {"uses": method.recipe.parts()["face_model"].uses, "assets": assets}


def same_face_model(facts: Mapping[str, object], method: Method) -> bool:
    """Whether codes belong to the face model of a method: same component, built from the same files."""
    own, theirs = face_model_facts(method), facts["assets"]
    assert isinstance(theirs, Mapping) and isinstance(own["assets"], Mapping)
    return facts["uses"] == own["uses"] and all(theirs.get(name) == sha for name, sha in own["assets"].items())
