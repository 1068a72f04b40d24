"""Files of npm's ``human-models`` as published, with random weights."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from tfjs_files import as_json, manifest_of, write_npm

Arrays = dict[str, np.ndarray]
WIDTHS = (32, 64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
"""MobileNetV1, Howard et al. 2017, table 1."""


def published_arrays(seed: int = 0) -> Arrays:
    """Random weights under the published names, in TensorFlow's axes."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {
        "conv1/convolution/merged_input": random.normal(size=(3, 3, 3, 32)) / 200,
        "conv1_bn/batchnorm_1/sub": random.normal(size=32),
        "age_pred/kernel": random.normal(size=(256, 100)),
    }
    for number, (inputs, width) in enumerate(pairwise(WIDTHS), 1):
        arrays[f"conv_dw_{number}/depthwise_kernel"] = random.normal(size=(3, 3, inputs, 1)) / 2
        arrays[f"conv_dw_{number}_bn/batchnorm_1/mul"] = random.uniform(0.5, 1.5, inputs)
        arrays[f"conv_dw_{number}_bn/batchnorm_1/sub"] = random.normal(size=inputs)
        arrays[f"conv_pw_{number}/convolution/merged_input"] = random.normal(size=(1, 1, inputs, width)) / inputs**0.5
        arrays[f"conv_pw_{number}_bn/batchnorm_1/sub"] = random.normal(size=width)
    return arrays


def write(path: Path, arrays: Arrays, deep: Arrays | None = None) -> Path:
    """An archive; ``deep`` is the same network in 32 bits, which stands before it as in the published one."""
    files = {}
    if deep:
        groups, content, _ = manifest_of({name: array.reshape(-1) for name, array in deep.items()}, "deep.bin")
        for entry in groups[0]["weights"]:
            entry["shape"] = list(deep[entry["name"]].shape)
        files = {"models/deep.json": as_json({"weightsManifest": groups}), "models/deep.bin": content}
    groups, content, _ = manifest_of(arrays, "faceres.bin", "float16")
    files |= {"models/faceres.json": as_json({"format": "graph-model", "weightsManifest": groups})}
    return write_npm(path, files | {"models/faceres.bin": content})
