"""All comparisons, or those that are named, one after the other; options go to each of them."""

import subprocess
import sys
from itertools import takewhile
from typing import Final

from benchmarks import llama

NAMES: Final = {
    "parse_render": "",
    "without_model": "",
    "one_stream": "",
    "workers_threads": "",
    "turns": "",
    "their_server": "",
    "soak": "",
    "llama_engines": llama.missing(),
    "llama_scaling": llama.missing(),
    "llama_server": llama.missing(server=True),
}
"""And what each of them needs and does not find."""


def main(arguments: list[str]) -> int:
    """The worst exit status of all that ran."""
    named = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    if unknown := [name for name in named if name not in NAMES]:
        sys.stderr.write(f"benchmarks: there is no {', '.join(unknown)}, but {', '.join(NAMES)}\n")
        return 2
    statuses = [0]
    for name in named or NAMES:
        if NAMES[name]:
            sys.stderr.write(f"benchmarks: {name} is left out: {NAMES[name]}\n")
            continue
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments[len(named) :]]
        statuses.append(subprocess.run(command, check=False).returncode)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
