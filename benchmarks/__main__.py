"""All comparisons, one after the other; options go to each of them. Takes about ten minutes on 2 CPUs."""

import subprocess
import sys

NAMES = ("parse_render", "without_model", "one_stream", "workers_threads", "turns", "their_server", "soak")

if __name__ == "__main__":
    statuses = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode
        for name in NAMES
    ]
    sys.exit(max(statuses))
