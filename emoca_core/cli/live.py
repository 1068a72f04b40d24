"""``emoca live``: a camera to a moving face, for a browser and for other programs."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from emoca_core.cli import Subparsers
from emoca_core.cli.cli_settings import settings_from, share, whole
from emoca_core.cli.reconstruct import load
from emoca_core.errors import ImageError, ParamsError
from emoca_core.parsing import shown

if TYPE_CHECKING:
    from emoca_core.interfaces import CapturedFace, LiveFrame, Sender
    from emoca_core.live import LiveSource

NAME = "live"
HELP = "follow a face in front of a camera, for a browser and for other programs"

PAGE = "preview"
"""The sender that is always there, unless --no-page."""
_EPILOG = """\
examples:
  emoca live                                            a page with picture, head and curves
  emoca live --from clip.mp4                            a clip as the camera
  emoca live --send live_link:host=192.168.1.20         to Unreal Engine as well
  emoca live --send vmc --send preview:port=8800        to a VTuber program; the page on another port

JSON for any program: one object for each frame from ws://127.0.0.1:8765/live. Ctrl-C ends it.

exit code: 0 done or stopped, 2 no camera, no such clip, a port in use, or the command is wrong.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--camera", type=whole(0, 99), default=0, metavar="N", help="which (default: 0, the first)")
    source.add_argument("--from", dest="clip", metavar="CLIP", help="a clip instead, at its own speed")
    parser.add_argument(
        "--send",
        action="append",
        default=[],
        metavar="NAME[:PARAM=VALUE,...]",
        help="another receiver, see `emoca list sender` and `emoca show NAME`; may be repeated",
    )
    parser.add_argument("--no-page", action="store_true", help="no page, only what --send names")
    parser.add_argument("--seconds", type=whole(1, 10**6), metavar="S", help="stop after so many seconds")
    parser.add_argument("--smooth", type=share, metavar="X", help="0 as measured, 1 calmest (default: 0.6)")
    parser.add_argument("--recipe", default="open_fit", help="method, see `emoca list recipe` (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="PART.PARAM=VALUE")
    return parser


def run(args: argparse.Namespace) -> int:
    """Capture until the source ends or the user stops it."""
    senders = build_senders([*([] if args.no_page or _names_page(args.send) else [PAGE]), *args.send])
    source = open_source(args)  # what is wrong with it shows before a method is loaded
    method = load(args)
    from emoca_core.live import LiveCapture

    with ExitStack() as stack:
        for sender in senders:
            stack.enter_context(sender)
            print(f"sending to {sender.address}", file=sys.stderr)
        smooth = {} if args.smooth is None else {"smooth": args.smooth}
        capture = LiveCapture(method, **smooth, meet=lambda face: _introduce(face, senders))
        stack.enter_context(source)
        try:
            total = _send(capture.frames(source), senders, args.seconds)
        except KeyboardInterrupt:
            print(file=sys.stderr)
            return 0
    print(total, file=sys.stderr)
    return 0


def build_senders(texts: Iterable[str]) -> "list[Sender]":
    """``NAME:PARAM=VALUE,...`` as senders.

    Raises:
        UnknownNameError: There is no such sender.
        ParamsError: It does not have such a parameter.
    """
    from emoca_core.registry import get_registry

    registry = get_registry()
    senders = []
    for text in texts:
        name, separator, params = text.partition(":")
        if separator and not params:
            raise ParamsError(f"--send {shown(text)}: write {name}:param=value, e.g. live_link:host=192.168.1.20")
        senders.append(registry.build("sender", name, settings_from(params.split(",")) if params else {}))
    if not senders:
        raise ParamsError("--no-page without --send: nobody would receive anything")
    return senders


def open_source(args: argparse.Namespace) -> "LiveSource":
    """The camera, or the clip in its place.

    Raises:
        ImageError: There is none.
    """
    from emoca_core.live import open_camera, play_clip
    from emoca_core.video import open_clip

    return open_camera(args.camera) if args.clip is None else play_clip(open_clip(Path(args.clip)))


def _names_page(texts: Iterable[str]) -> bool:
    return any(text.partition(":")[0] == PAGE for text in texts)


def _introduce(face: "CapturedFace", senders: "Iterable[Sender]") -> None:
    """Give the senders the person's head."""
    with TemporaryDirectory() as temporary:
        face.save(temporary, ["glb"])
        head = (Path(temporary) / "face.glb").read_bytes()
    for sender in senders:
        sender.show_person(head)


def _send(frames: "Iterator[LiveFrame]", senders: "Iterable[Sender]", seconds: int | None) -> str:
    """Send every frame to everybody; returns what there was, in one line.

    Raises:
        ImageError: The camera gave no picture at all.
    """
    from emoca_core.progress import progress_bar

    count = faces = 0
    latency, frame = 0.0, None
    with progress_bar(label="live", unit="frame") as bar:
        for frame in frames:
            for sender in senders:
                sender.send(frame)
            count, faces, latency = count + 1, faces + (frame.face is not None), latency + frame.latency
            bar.set_postfix_str(f"{1000 * frame.latency:.0f} ms late, {frame.dropped} dropped", refresh=False)
            bar.update()
            if seconds is not None and frame.time >= seconds:
                break
    if frame is None:
        raise ImageError("no picture came")
    rate = f"{(count - 1) / frame.time:.0f} a second, " if frame.time > 0 else ""
    return (
        f"{count} frames, {faces} with a face, {rate}{1000 * latency / count:.0f} ms late on average, "
        f"{frame.dropped} dropped"
    )
