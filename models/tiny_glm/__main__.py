"""Command line: ``python -m tiny_glm grow | average | train | export | evaluate | ask | all``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .served import FILE

CHECKPOINT = Path("build/tiny-glm4.pt")


def chosen(args: argparse.Namespace) -> dict:
    """Return the parts of the recipe that the command line gives."""
    given = {"steps": args.steps, "minutes": args.minutes}
    return given if args.short_steps is None else given | {"short_steps": args.short_steps}


def run_grow(args: argparse.Namespace) -> None:
    """Write a checkpoint from an older one or from a model file, larger where the network has grown since."""
    from . import grow
    from .network import Shape

    grow.grow(args.old, args.checkpoint, Shape())


def run_average(args: argparse.Namespace) -> None:
    """Write a checkpoint with the mean of the weights of several."""
    from . import average

    average.average(args.parts, args.checkpoint)


def run_train(args: argparse.Namespace) -> None:
    """Train to the checkpoint."""
    from . import train
    from .network import Shape

    train.train(args.checkpoint, train.Recipe(**chosen(args)), Shape())


def run_export(args: argparse.Namespace) -> None:
    """Write the model file from the checkpoint."""
    from . import export, train

    network, tokenizer, facts = train.load(args.checkpoint)
    export.export(network, tokenizer, args.file, export.DataType[args.type.upper()])
    size = args.file.stat().st_size
    print(
        f"{args.file}: {size} bytes, {network.parameter_count()} parameters, {facts['step']} steps, {facts['tokens']} tokens, {facts['seconds']:.0f} seconds"
    )


def run_evaluate(args: argparse.Namespace) -> None:
    """Print the accuracy of the model file."""
    from . import evaluate

    evaluate.evaluate(args.file, per_skill=args.per_skill, failures=args.failures)


def run_ask(args: argparse.Namespace) -> None:
    """Answer the words on the command line, as turns of one conversation."""
    from .conversation import Turn
    from .served import ServedModel, use_one_thread
    from .tools import declaration

    use_one_thread()
    model, turns = ServedModel(args.file), []
    if args.tools:
        turns.append(declaration(json.loads(args.tools.read_text(encoding="utf-8"))))
    if args.system:
        turns.append(Turn("system", args.system))
    for text in args.text:
        turns.append(Turn("user", text))
        answer = model.reply(turns)
        turns += answer
        print(f"> {text}", *(f"{turn.metadata} {turn.text}".strip() for turn in answer), sep="\n")


def run_all(args: argparse.Namespace) -> None:
    """Train, export, evaluate."""
    run_train(args)
    run_export(args)
    run_evaluate(args)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="tiny_glm", description="Make the embedded demonstration model.")
    commands = top.add_subparsers(dest="command", required=True)
    for run, text in (
        (run_grow, "start from an older checkpoint or a model file: write the checkpoint that train continues"),
        (run_average, "write a checkpoint with the mean of the weights of several checkpoints or model files"),
        (run_train, "train to a checkpoint; an unfinished one is continued"),
        (run_export, "write the model file"),
        (run_evaluate, "measure the model file"),
        (run_ask, "ask the model file"),
        (run_all, "train, export, evaluate"),
    ):
        command = commands.add_parser(run.__name__.removeprefix("run_"), help=text)
        command.set_defaults(run=run)
        command.add_argument("--file", type=Path, default=FILE, help="the model file (default: the embedded one)")
        if run is run_grow:
            command.add_argument("old", type=Path, help="the older checkpoint, or a model file")
        if run is run_average:
            command.add_argument("parts", type=Path, nargs="+", help="checkpoints or model files of one shape")
        if run in (run_grow, run_average, run_train, run_export, run_all):
            command.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
        if run in (run_train, run_all):
            command.add_argument("--steps", type=int, default=5000)
            command.add_argument(
                "--minutes", type=float, default=0.0, help="end after so many minutes at the latest (default: no limit)"
            )
            command.add_argument(
                "--short-steps", type=int, help="first steps with short conversations only; 0 after grow"
            )
        if run in (run_export, run_all):
            command.add_argument("--type", choices=("f32", "f16", "q8_0"), default="q8_0")
        if run in (run_evaluate, run_all):
            command.add_argument("--per-skill", type=int, default=60, help="questions per skill")
            command.add_argument("--failures", type=int, default=0, help="wrong answers to print per skill")
        if run is run_ask:
            command.add_argument("text", nargs="+", help="one user message each")
            command.add_argument("--tools", type=Path, help="a JSON file with a list of functions")
            command.add_argument("--system", default="", help="the system prompt")
    return top


def main() -> None:
    """Run the command."""
    args = parser().parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
