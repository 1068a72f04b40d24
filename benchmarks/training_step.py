"""What a training step spends beside its networks, and whether the data keep up with it.

    python benchmarks/training_step.py [--batch 32] [--rounds 30]

One step of ``open_emoca`` (small preset, untrained weights, synthetic faces) is timed as a whole, then its networks
alone: the encoder forward and backward, the emotion backbone on the photo, and on the picture forward and backward.
What is left are face model, renderer, losses and their gradients: at most 35 % of the step is the target. Medians of
measurements in turn.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace

import torch
from timing import Task, milliseconds

from emoca_core.train.face_batches import FaceBatch, collate_face_batch
from emoca_core.train.run_stage import prepare_stage
from emoca_core.train.stage_task import ReconstructionTask
from emoca_core.train.task import Step

TARGET = 0.35
UNTRAINED = {
    "encoder": {"params": {"weights": "random"}},
    "emotion_backbone": {"params": {"weights": "random"}, "untrained": True},
}


def parts_of_a_step(task: ReconstructionTask, batch: FaceBatch) -> Mapping[str, Task]:
    """The whole step, its networks alone, and the picture alone: normals, shading and pixels, and back to the vertices.

    The picture's codes are those of the untrained encoder, whose faces are about as large as later ones.
    """
    backbone = task.method.emotion_backbone
    assert backbone is not None
    picture = batch.crop.image.clone()
    with torch.no_grad():
        seen = task.capture(batch)
        albedo = task.method.face_model.albedo(seen.parameters)

    def whole() -> None:
        task(batch, Step(0, 0, 0, logged=False)).total.backward()

    def encoder() -> None:
        code = task.method.encoder(batch.crop)
        code.expression.sum().backward()

    def emotion() -> None:
        with torch.no_grad():
            backbone(batch.crop.image)
        backbone(picture.requires_grad_()).features["pooled"].sum().backward()

    def rendering() -> None:
        vertices = seen.geometry.vertices.clone().requires_grad_()
        drawn = task.method.render(replace(seen.geometry, vertices=vertices), seen.parameters, batch.crop.size, albedo)
        assert drawn is not None
        drawn.image.sum().backward()

    return {"whole": whole, "encoder": encoder, "emotion": emotion, "rendering": rendering}


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    ready = prepare_stage("coarse", "open_emoca", "synthetic_faces", change=UNTRAINED)
    task, faces = ready.task.train(), ready.training
    numbers = list(range(arguments.batch))
    batch = collate_face_batch(faces.__getitems__(numbers))
    times = milliseconds(
        {**parts_of_a_step(task, batch), "data": lambda: faces.__getitems__(numbers)}, arguments.rounds
    )
    whole, networks = times["whole"], times["encoder"] + times["emotion"]
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    print(f"open_emoca, batch {arguments.batch} at 112 px, {threads} threads, load {load:.1f}")
    print(f"  whole step     {whole:7.0f} ms")
    print(f"  encoder        {times['encoder']:7.0f} ms")
    print(f"  emotion        {times['emotion']:7.0f} ms")
    print(f"  rendering      {times['rendering']:7.0f} ms, {times['rendering'] / whole:.0%} of the step")
    print(f"  all the rest   {whole - networks:7.0f} ms, {1 - networks / whole:.0%} of the step (target {TARGET:.0%})")
    print(f"  synthetic data {times['data']:7.0f} ms a batch: {times['data'] / whole:.2f} of a step for each worker")


if __name__ == "__main__":
    main()
