"""Command line: ``python -m tiny_families all | glm4v | chatglm3 | chatglm2 | chatglm``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tiny_glm.served import FILE

CHECKPOINTS = Path("build/families")
STEPS = ("train", "export", "evaluate")


def make_glm4v(args: argparse.Namespace) -> None:
    """Make the GLM-4V file."""
    from . import accuracy, glm4v

    checkpoint, recipe = CHECKPOINTS / "tiny-glm4v.pt", glm4v.Recipe().within(args.minutes)
    if "train" in args.do:
        glm4v.train_glm4v(checkpoint, args.base, recipe)
    if "export" in args.do:
        glm4v.write_file(checkpoint)
    if "evaluate" in args.do:
        print(accuracy.of_pictures(glm4v.FILE, per_kind=args.count, failures=args.failures))
        print(accuracy.of_glm4_text(glm4v.FILE, per_skill=args.count, failures=args.failures))


def make_talker(name: str, args: argparse.Namespace) -> None:
    """Make the file of a ChatGLM family."""
    from . import accuracy, families

    family = next(one for one in families.ALL if one.name == name)
    family = replace(family, course=replace(family.course, minutes=args.minutes))
    checkpoint = CHECKPOINTS / f"{name}.pt"
    if "train" in args.do:
        families.train(family, checkpoint, args.base)
    if "export" in args.do:
        families.write(family, checkpoint)
    if "evaluate" in args.do:
        print(accuracy.of_talk(family, family.file, per_skill=args.count, failures=args.failures))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="tiny_families", description="Make small model files of the other GLM families.")
    top.add_argument("family", choices=("all", "glm4v", "chatglm3", "chatglm2", "chatglm"))
    top.add_argument("--base", type=Path, default=FILE, help="the GLM-4 file or checkpoint to begin from")
    top.add_argument("--minutes", type=float, default=0.0, help="end each training after so many at the latest")
    top.add_argument("--do", nargs="+", choices=STEPS, default=STEPS, help="only some of the steps")
    top.add_argument("--count", type=int, default=40, help="questions per kind or skill in the evaluation")
    top.add_argument("--failures", type=int, default=0, help="wrong answers to print per kind or skill")
    return top


def main() -> None:
    """Run the command."""
    from tiny_glm.served import use_one_thread

    args = parser().parse_args()
    use_one_thread()
    if args.family in ("all", "glm4v"):
        make_glm4v(args)
    for name in ("chatglm3", "chatglm2", "chatglm"):
        if args.family in ("all", name):
            make_talker(f"tiny-{name}", args)


if __name__ == "__main__":
    main()
