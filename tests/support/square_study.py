"""A small study whose pictures are coloured squares: everything but the rendering works on it as on a real one."""

import hashlib
import io
import secrets

from PIL import Image

from emoca_core.files import write_json, write_text
from emoca_core.study.design import FORMAT, PHOTO, PICTURES, STUDY, Face, Stimulus, Study, picture_path
from emoca_core.study.make import _text_of
from emoca_core.study.plan import StudyPlan
from emoca_core.study.texts import TEXTS

METHODS = ("open_fit", "other")
CHOICES = ("neutral", "happy", "sad", "anger")


def make_squares(folder, faces=6, methods=METHODS, choices=CHOICES, **facts):
    """A study folder of ``faces`` faces, the label of face i being choice i."""
    (folder / PICTURES).mkdir(parents=True)
    key = secrets.token_hex(16)

    def stimulus(face, shows, colour):
        name = hashlib.sha256(f"{key}{face}{shows}".encode()).hexdigest()[:24]
        content = io.BytesIO()
        Image.new("RGB", (48, 48), colour).save(content, "JPEG")
        picture_path(folder, name).write_bytes(content.getvalue())
        return Stimulus(id=name, face=face, shows=shows, sha256=hashlib.sha256(content.getvalue()).hexdigest())

    settings = {"seed": 1, "catch_trials": 2, "faces_each": min(4, faces), **facts}
    study = Study(
        format=FORMAT,
        version="test",
        plan="",
        key=key,
        choices=choices,
        methods=methods,
        recipes=dict.fromkeys(methods, ""),
        faces=tuple(Face(file=f"{i}.jpg", sha256="", label=choices[i % len(choices)]) for i in range(faces)),
        stimuli=tuple(
            stimulus(face, shows, (30 * face, 80 * number, 128))
            for face in range(faces)
            for number, shows in enumerate((PHOTO, *methods))
        ),
        practice=(stimulus(None, "happy", (255, 0, 0)), stimulus(None, "sad", (0, 0, 255))),
        left_out=(),
        **settings,
    )
    write_text(folder / TEXTS, _text_of(StudyPlan([], methods), True))
    write_json(folder / STUDY, study.model_dump(mode="json"))
    return study


def answer_all(store, name, choose, **begin):
    """Let somebody answer everything: ``choose`` gets the trial, ``None`` is obedient."""
    now = store.begin(name, **begin)
    while now.trial:
        label = choose(now.trial) or now.trial.expected or now.choices[0]
        now = store.answer(name, now.done, label, 700)
    return now
