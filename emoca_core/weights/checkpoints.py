"""Published weights into our modules, strictly: every tensor of a file is matched, renamed, or dropped for a reason.

PyTorch files are read by the restricted pickle machine (no code in them is ever run), beside safetensors, npz and
TensorFlow V2 checkpoints. Nested dictionaries (``{"E_flame": {...}, "opt": {...}}``, Lightning's ``state_dict``) are
flattened with dots, so that a key map is a table of flat names.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from emoca_core.errors import AssetFormatError, MissingAssetError
from emoca_core.files import open_regular, sha256_of
from emoca_core.interfaces import ModuleComponent
from emoca_core.limits import ASSET_BYTES, HEADER_BYTES, PICKLE_DEPTH
from emoca_core.registry.assets import find_assets
from emoca_core.registry.spec import ComponentParams
from emoca_core.weights import RANDOM
from emoca_core.weights.archives import open_archive
from emoca_core.weights.npy import Npz
from emoca_core.weights.tf_checkpoint import TensorFlowCheckpoint, bundle_prefix
from emoca_core.weights.torch_file import Inert, read_torch

_NOTHING_TO_READ = (RANDOM, "none")
"""``none`` leaves out an optional file, e.g. a mask; weights are never left out by accident."""
UNTRAINED = "untrained"
"""Value of a ``weights`` parameter in recipes whose weights nobody has published."""
Setting = bool | int | float | str
_TRUTH = {"true": True, "false": False}
"""Settings that ``emoca assets add`` keeps beside the tensors."""
_SHOWN = 8
"""Keys listed in an error before "and n more"."""


class Checkpoint(Mapping[str, Shaped[Tensor, "..."]]):
    """The tensors of one file by flat name, read when asked for.

    Attributes:
        path: The file.
        ignored: Entries that are not tensors (epoch numbers, configurations).
        settings: Plain values among them, by flat name.
    """

    def __init__(
        self,
        path: Path,
        names: Iterable[str],
        read: Callable[[str], Tensor],
        ignored: Iterable[str] = (),
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        """Wrap a function that reads one tensor."""
        self.path, self.ignored, self.settings = path, tuple(ignored), settings or {}
        self._names, self._read = dict.fromkeys(names), read

    def __getitem__(self, name: str) -> Shaped[Tensor, "..."]:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def setting(self, name: str) -> Setting | None:
        """What the file says of itself under a name, wherever it stands; ``None`` where it says nothing."""
        return next((value for key, value in self.settings.items() if key.rpartition(".")[2] == name), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class KeyMap:
    """How the names of a published file become those of a module.

    Patterns are regular expressions that must match at the beginning of a name, after ``strip``.

    Attributes:
        strip: Leading parts that a file may or may not have, removed one after the other.
        rename: Pattern -> replacement; all are applied, in order.
        drop: Pattern -> why tensors of such names are not needed.
        convert: Brings a tensor into PyTorch's layout; gets the name in the file.
    """

    strip: tuple[str, ...] = ("state_dict.", "module.")
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: Mapping[str, str] = field(default_factory=dict)
    convert: Callable[[str, Tensor], Tensor] | None = None

    def stripped(self, name: str) -> str:
        """The name without its optional leading parts."""
        for prefix in self.strip:
            name = name.removeprefix(prefix)
        return name

    def reason_to_drop(self, name: str) -> str | None:
        """Why a tensor of this (stripped) name is not needed; ``None`` if it is."""
        return next((reason for pattern, reason in self.drop.items() if re.match(pattern, name)), None)

    def renamed(self, name: str) -> str:
        """Our name for a (stripped) name of the file."""
        for pattern, replacement in self.rename.items():
            name = re.sub(rf"^(?:{pattern})", replacement, name)
        return name


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a file.

    Attributes:
        path: The file.
        sha256: Of its content.
        matched: Names that are ours already.
        renamed: Name in the file -> our name.
        dropped: Name in the file -> why it was not needed.
        defaulted: Our batch counters that the file lacks (they do not influence the output).
    """

    path: Path
    sha256: str
    matched: tuple[str, ...]
    renamed: Mapping[str, str]
    dropped: Mapping[str, str]
    defaulted: tuple[str, ...] = ()

    def __str__(self) -> str:
        reasons: dict[str, int] = {}
        for reason in self.dropped.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        lines = [
            f"{self.path.name} (sha256 {self.sha256[:16]}): {len(self.matched)} matched, {len(self.renamed)} renamed"
        ]
        lines += [f"  dropped {count}: {reason}" for reason, count in reasons.items()]
        if self.defaulted:
            lines.append(f"  {len(self.defaulted)} batch counters absent, set to zero")
        return "\n".join(lines)


class WeightsParams(ComponentParams):
    """Parameters of a component that runs published weights."""

    weights: str | None = None
    """Published weights: name of an asset or path of a file; by default the component's own asset. ``random``
    initialises for training."""

    @pydantic.field_validator("weights")
    @classmethod
    def _said_plainly(cls, weights: str | None) -> str | None:
        if weights == "none":
            raise ValueError(f"'none' is no file; say '{RANDOM}' for random initialisation, which needs training")
        return weights


def load_published(component: ModuleComponent, asset: str, weights: str | None, keys: KeyMap) -> LoadReport | None:
    """Fill a component from its published file, switch it to inference and note the file in ``asset_paths``.

    Args:
        component: Receives the tensors.
        asset: Name of the asset that holds them by default.
        weights: The ``weights`` parameter of the component.
        keys: How the names of the file become ours.

    Returns:
        What happened to every tensor; ``None`` for random initialisation, which must be asked for.

    Raises:
        MissingAssetError: The file is not there; nothing is ever initialised silently.
        AssetFormatError: The file does not fit.
    """
    path = find_weights(asset, weights)
    if path is None:
        return None
    report = load_into(component, read_checkpoint(path), keys)
    component.asset_paths = {**component.asset_paths, asset_name(asset, weights): path}
    component.eval()
    return report


def asset_name(asset: str, weights: str | None) -> str:
    """The asset that a ``weights`` parameter means; a path stands in for the default one."""
    return weights if weights is not None and _is_name(weights) else asset


def _is_name(weights: str) -> bool:
    path = Path(weights)
    return not path.suffix and path.name == weights and not tf_index(path).is_file()


def find_weights(asset: str, weights: str | None) -> Path | None:
    """The file that a ``weights`` parameter means; ``None`` for ``"random"`` and ``"none"``.

    Raises:
        MissingAssetError: It is not there.
    """
    return next(iter(find_all_weights({asset: weights}).values()), None)


def find_all_weights(wanted: Mapping[str, str | None]) -> dict[str, Path]:
    """Several files at once, by the component's own asset names; what is to be initialised at random is left out.

    Raises:
        MissingAssetError: Lists every file that is not there.
    """
    if untrained := [asset for asset, weights in wanted.items() if weights == UNTRAINED]:
        raise MissingAssetError(
            f"the weights of {', '.join(untrained)} are yours to train: run 'emoca train' and give its folder as the "
            f"recipe, or a file as 'weights' ('{RANDOM}' starts from scratch)"
        )
    named = {asset: asset_name(asset, weights) for asset, weights in wanted.items() if weights not in _NOTHING_TO_READ}
    found = find_assets({name: _given(wanted[asset]) for asset, name in named.items()})
    return {asset: found[name] for asset, name in named.items()}


def _given(weights: str | None) -> Path | None:
    return None if weights is None or _is_name(weights) else tf_index(Path(weights).expanduser())


def load_into(module: nn.Module, checkpoint: Checkpoint, keys: KeyMap) -> LoadReport:
    """Copy every tensor of a checkpoint to its place in a module. A file with the module's own names needs no key map.

    Raises:
        AssetFormatError: A tensor is missing, unexpected, of the wrong shape or kind, or not finite.
    """
    targets = module.state_dict(keep_vars=True)
    if set(checkpoint) == set(targets):  # saved by this project: the names are ours already
        keys = KeyMap(strip=(), convert=None)
    state: dict[str, Tensor] = {}
    matched, renamed, dropped = [], {}, {}
    for name in checkpoint:
        bare = keys.stripped(name)
        if (reason := keys.reason_to_drop(bare)) is not None:
            dropped[name] = reason
            continue
        ours = keys.renamed(bare)
        if ours in state:
            raise AssetFormatError(f"{checkpoint.path}: two tensors claim the place of '{ours}', one is '{name}'")
        state[ours] = checkpoint[name] if ours in targets else torch.empty(0)
        if keys.convert and ours in targets:
            state[ours] = keys.convert(name, state[ours])
        if ours == name:
            matched.append(name)
        else:
            renamed[name] = ours
    counters = tuple(name for name in targets if name.endswith("num_batches_tracked") and name not in state)
    _check(checkpoint.path, {k: v for k, v in targets.items() if k not in counters}, state)
    with torch.no_grad():
        for name, value in state.items():
            targets[name].copy_(value)
    return LoadReport(checkpoint.path, sha256_of(checkpoint.path), tuple(matched), renamed, dropped, counters)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Open a file by its content: PyTorch (zip or legacy), safetensors, npz, or TensorFlow V2 (any of its files).

    Raises:
        MissingAssetError: There is no such file.
        AssetFormatError: None of these formats, damaged, or a pickle with anything but tensors and plain data.
    """
    path = tf_index(Path(path))
    if path.suffix == ".index":
        return _read_tensorflow(path)
    try:
        with open_regular(path, ASSET_BYTES, AssetFormatError) as file:
            head = file.read(16)
    except FileNotFoundError:
        raise MissingAssetError(f"there is no file {path}") from None
    except OSError as error:
        raise AssetFormatError(f"{path} cannot be read: {error.strerror or error}") from None
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head[:2] == b"PK" and _is_npz(path):
        return _read_npz(path)
    return _read_torch(path)


def tf_index(path: Path) -> Path:
    """The index file where the path means a TensorFlow checkpoint, by prefix or by any of its files; else the path."""
    prefix = bundle_prefix(path)
    index = prefix.with_name(prefix.name + ".index")
    return index if prefix.name and index.is_file() else path


def _read_tensorflow(path: Path) -> Checkpoint:
    bundle = TensorFlowCheckpoint.open(path)
    return Checkpoint(path, bundle, lambda name: torch.from_numpy(bundle[name]))


def _read_safetensors(path: Path) -> Checkpoint:
    with open_regular(path, ASSET_BYTES, AssetFormatError) as head:
        HEADER_BYTES.check(int.from_bytes(head.read(8), "little"), f"{path}: its header", AssetFormatError)
    try:
        file: Any = safe_open(path, framework="pt", device="cpu")
        names, notes = list(file.keys()), dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise AssetFormatError(f"{path} is not an intact safetensors file: {error}") from None
    return Checkpoint(path, names, file.get_tensor, settings={n: _TRUTH[t] for n, t in notes.items() if t in _TRUTH})


def _is_npz(path: Path) -> bool:
    with open_regular(path, ASSET_BYTES, AssetFormatError) as file, open_archive(file, path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def _read_npz(path: Path) -> Checkpoint:
    npz = Npz(path)
    arrays = {name: torch.from_numpy(np.array(npz[name])) for name in npz.shapes}
    return Checkpoint(path, arrays, arrays.__getitem__)


def _read_torch(path: Path) -> Checkpoint:
    tensors: dict[str, Tensor] = {}
    settings: dict[str, Setting] = {}
    ignored = list(_flatten(read_torch(path), "", tensors, settings))
    if not tensors:
        raise AssetFormatError(f"{path} holds no tensors")
    return Checkpoint(path, tensors, tensors.__getitem__, ignored, settings)


def _flatten(
    value: object, name: str, tensors: dict[str, Tensor], settings: dict[str, Setting], depth: int = 0
) -> Iterator[str]:
    """Sort tensors and settings by dotted names, and give the names of what is no tensor."""
    PICKLE_DEPTH.check(depth, name, AssetFormatError)
    if isinstance(value, Inert) and (held := value.tensors()):
        value = {key: item for key, item in held.items() if item is not None}  # a layer without a bias, say
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flatten(item, f"{name}.{key}" if name else str(key), tensors, settings, depth + 1)
    else:
        yield name
        plain = value.plain() if isinstance(value, Inert) else value
        if isinstance(plain, bool | int | float | str):
            settings[name] = plain
        elif plain is not value:  # the entries of a configuration object; tensors in it stay there
            list(_flatten(plain, name, {}, settings, depth + 1))


def _check(path: Path, targets: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    problems = []
    if missing := [name for name in targets if name not in state]:
        problems.append(f"  missing: {_some(missing)}")
    if unexpected := [name for name in state if name not in targets]:
        problems.append(f"  unexpected: {_some(unexpected)}")
    common = [(name, target, state[name]) for name, target in targets.items() if name in state]
    shapes = [f"{n} is {_shape(v)}, expected {_shape(t)}" for n, t, v in common if v.shape != t.shape]
    if shapes:
        problems.append(f"  wrong shape: {_some(shapes)}")
    if kinds := [n for n, t, v in common if v.is_floating_point() != t.is_floating_point()]:
        problems.append(f"  wrong kind of number: {_some(kinds)}")
    if not problems:
        wild = [name for name, _, value in common if value.is_floating_point() and not value.isfinite().all()]
        problems += [f"  not finite: {_some(wild)}"] if wild else []
    if problems:
        raise AssetFormatError("\n".join([f"{path} does not fit the network:", *problems]))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _some(items: list[str]) -> str:
    rest = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + rest
