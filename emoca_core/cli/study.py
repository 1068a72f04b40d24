"""``emoca study``: people label photos and reconstructions, and what they see is compared."""

import argparse
import sys
from pathlib import Path

from emoca_core.cli import Subparsers, loading
from emoca_core.cli.cli_settings import whole
from emoca_core.limits import SEED

NAME = "study"
HELP = "a perceptual study: do people see the same emotion in a face and in its reconstruction?"

SOME_FAILED = 1
_EPILOG = """\
example:
  emoca study new --photos photos/ --methods open_fit,deca --out my_study
  emoca study serve my_study                                 # http://127.0.0.1:8700/?participant=test
  emoca study answer my_study --backbone open_emotion        # a machine takes part
  emoca study results my_study --out report

The expression that a photo shows is known from --labels, or from its folder's name: photos/happy/1.jpg.

exit code: 0 done, 1 some photos were left out, 2 bad input, 130 stopped with Ctrl-C.
"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        NAME, help=HELP, description=HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_new(actions)
    _add_serve(actions)
    _add_answer(actions)
    _add_results(actions)
    forget = _action(actions, "forget", "delete a participant with all answers", "my_study anna")
    forget.set_defaults(action=run_forget)
    forget.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
    forget.add_argument("participant", metavar="NAME", help="as in the link")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what was chosen."""
    chosen: int = args.action(args)
    return chosen


def _action(actions: Subparsers, name: str, text: str, example: str) -> argparse.ArgumentParser:
    return actions.add_parser(
        name, help=text, description=text, epilog=f"example: emoca study {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _add_new(actions: Subparsers) -> None:
    new = _action(
        actions, "new", "render the pictures of a study", "--photos photos/ --methods open_fit,deca --out my_study"
    )
    new.set_defaults(action=run_new)
    new.add_argument("--photos", nargs="+", required=True, metavar="PATH", help="photo, folder (searched) or pattern")
    new.add_argument(
        "--methods", type=_names, required=True, metavar="NAMES", help="e.g. open_fit,deca; run folders too"
    )
    new.add_argument("--out", type=Path, required=True, metavar="STUDY", help="folder of the study")
    new.add_argument(
        "--labels", type=Path, metavar="FILE", help="manifest (CSV, Parquet) with the expression of each photo"
    )
    new.add_argument("--choices", type=_names, metavar="NAMES", help="the answers (default: AffectNet's eight classes)")
    new.add_argument(
        "--faces-each", type=whole(2), metavar="N", help="faces that one participant sees (default: about 120 pictures)"
    )
    new.add_argument(
        "--catch",
        type=whole(0, 100),
        default=4,
        metavar="N",
        help="trials that show whether somebody pays attention (default: %(default)s)",
    )
    new.add_argument(
        "--catch-photos",
        nargs="+",
        default=(),
        metavar="PATH",
        help="photos whose expression nobody mistakes, for these trials (default: a text tells what to choose)",
    )
    new.add_argument(
        "--practice", nargs="+", default=(), metavar="PATH", help="photos to practise on (default: a synthetic head)"
    )
    new.add_argument("--texts", type=Path, metavar="FILE", help="translation of the texts; see docs/study.md")
    new.add_argument("--seed", type=whole(0, SEED), default=0, metavar="N", help="of the order of trials (default: 0)")
    new.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")


def _add_serve(actions: Subparsers) -> None:
    serve = _action(actions, "serve", "serve the page of a study, until Ctrl-C", "my_study --port 8700")
    serve.set_defaults(action=run_serve)
    serve.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    serve.add_argument(
        "--port", type=whole(0, 65535), default=8700, metavar="N", help="0 takes a free one (default: 8700)"
    )
    serve.add_argument(
        "--public", action="append", default=[], metavar="NAME", help="name under which a proxy serves the page"
    )
    serve.add_argument(
        "--most", type=whole(), default=1000, metavar="N", help="so many people are wanted (default: %(default)s)"
    )
    serve.add_argument("--code", metavar="CODE", help="one completion code for all (default: everybody gets their own)")
    serve.add_argument("--link", metavar="URL", help="shown at the end; {code} stands for the code")


def _add_answer(actions: Subparsers) -> None:
    answer = _action(actions, "answer", "let an emotion backbone take part", "my_study --backbone open_emotion")
    answer.set_defaults(action=run_answer)
    answer.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
    answer.add_argument(
        "--backbone", default="open_emotion", metavar="NAME", help="backbone, preset or run (default: %(default)s)"
    )
    answer.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")


def _add_results(actions: Subparsers) -> None:
    results = _action(actions, "results", "figures, intervals and tests of a study", "my_study --out report")
    results.set_defaults(action=run_results)
    results.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
    results.add_argument("--out", type=Path, required=True, metavar="REPORT", help="folder of the report")
    results.add_argument(
        "--of", choices=("people", "machines"), help="whose answers (default: people, if there are any)"
    )
    results.add_argument(
        "--missed-catch", type=whole(0, 100), default=1, metavar="N",
        help="whoever misses more catch trials is left out (default: %(default)s)",
    )  # fmt: skip
    results.add_argument("--unfinished", action="store_true", help="take in those who have not finished")
    results.add_argument(
        "--codes", type=Path, metavar="FILE", help="write who finished with which code, to pay people: not anonymous"
    )


def run_new(args: argparse.Namespace) -> int:
    """Render a study."""
    with loading():
        from emoca_core.study.make import make_study
        from emoca_core.study.plan import StudyPlan

    choices = {} if args.choices is None else {"choices": args.choices}
    plan = StudyPlan(
        photos=args.photos, methods=args.methods, labels=args.labels, seed=args.seed, catch_trials=args.catch,
        practice=args.practice, catch=args.catch_photos, faces_each=args.faces_each, texts=args.texts,
        device=args.device, **choices,
    )  # fmt: skip
    study = make_study(plan, args.out, _say)
    known = sum(face.label is not None for face in study.faces)
    pictures = study.faces_each * len(study.conditions)
    print(
        f"{args.out}: {len(study.faces)} faces ({known} with a known expression), {len(study.methods)} methods; "
        f"one participant sees {study.faces_each} faces in {pictures} pictures"
    )
    return SOME_FAILED if study.left_out else 0


def run_serve(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from emoca_core.study.server import ServeSettings, serve_study

    settings = ServeSettings(args.host, args.port, tuple(args.public), args.most, args.code, args.link)
    try:
        serve_study(args.study, settings, _say)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


def run_answer(args: argparse.Namespace) -> int:
    """Let a machine answer."""
    with loading():
        from emoca_core.study.machine import answer_as_machine

    count = answer_as_machine(args.study, args.backbone, args.device)
    print(f"{args.study}: {count} pictures labelled by {args.backbone}")
    return 0


def run_results(args: argparse.Namespace) -> int:
    """Compute everything, and write the report."""
    from emoca_core.files import writing_to
    from emoca_core.study.report import summary, write_codes, write_report
    from emoca_core.study.results import Rule, study_results
    from emoca_core.study.store import ParticipantKind

    kinds: dict[str | None, ParticipantKind | None] = {"people": "person", "machines": "machine"}
    results = study_results(args.study, Rule(kinds.get(args.of), args.missed_catch, args.unfinished))
    with writing_to(args.out):
        page = write_report(results, args.out)
    if args.codes:
        with writing_to(args.codes.parent):
            write_codes(args.study, args.codes)
    print(summary(results), file=sys.stderr)
    print(page)
    return 0


def run_forget(args: argparse.Namespace) -> int:
    """Delete a participant."""
    from emoca_core.errors import EmocaError
    from emoca_core.study.design import read_study
    from emoca_core.study.store import Store

    with Store.open(args.study, read_study(args.study)) as store:
        if not store.forget(args.participant):
            raise EmocaError(f"{args.study}: there is no participant '{args.participant}'")
    print(f"{args.study}: nothing of {args.participant} is left")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
