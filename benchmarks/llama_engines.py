"""The same weights run by chatglm-cpp and by llama.cpp, both behind our server: what a CPU second gives."""

import os
from contextlib import ExitStack
from typing import Final

from benchmarks.clients import ask, load, over, words_for
from benchmarks.comparison import Session, main
from benchmarks.llama import gguf, missing, served
from benchmarks.result import Result, Table, number, ratio, spread
from benchmarks.serving import Running, glmserve
from glmserve_client.bench.prompts import Prompts
from glmserve_client.bench.summary import percentile
from glmserve_client.bench.target import Target
from glmserve_client.bench.weights import Quantisation

ENGINES: Final = ("chatglm", "llama")
CLIENTS: Final = 8
CONTEXT: Final = 1024
LONG: Final = 256
"""Tokens of the prompt that is read."""
SHORT: Final = 32
"""Tokens of the prompts that are answered."""
CLOCK: Final = 0.01
"""The step of the clock of CPU seconds."""
MEASURES: Final = {
    "prefill": "prompt tokens per CPU second",
    "decode": "answer tokens per CPU second, one stream",
    "together": f"answer tokens per CPU second, {CLIENTS} clients, prompts included",
    "pace": f"answer tokens/s, {CLIENTS} clients, prompts included",
}

Seen = dict[str, dict[str, list[float]]]
"""By engine and measure, round by round; `first` is milliseconds to the first token, of every request."""


async def compare(session: Session) -> Result:
    """One way to use the CPUs after the other; the two engines in turns."""
    cpus = len(os.sched_getaffinity(0))
    ways = [(Quantisation.Q4_0, 1), (Quantisation.Q8_0, 1), *([(Quantisation.Q4_0, cpus)] if cpus > 1 else [])]
    ways = ways[: session.small(len(ways), 1)]
    seen = {_title(kind, threads): await _rounds(session, kind, threads) for kind, threads in ways}
    return Result(
        title="The same weights in chatglm-cpp and in llama.cpp",
        method="A GLM-4 of 300M random weights as chatglm.cpp's file and as what `glmserve convert` makes of it, over "
        f"gRPC, without prefix reuse. chatglm-cpp has a worker of one thread for each CPU that it may use, llama.cpp "
        f"one process of as many threads and {CLIENTS} slots. Read: {LONG} tokens. Answered: {SHORT} tokens with "
        f"{_answer(session)}, greedily. CPU seconds are those of server and workers together. {session.rounds} rounds "
        "in turns; medians, least and greatest in brackets, ratios are medians of the rounds' ratios.",
        tables=[_table(title, measured) for title, measured in seen.items()],
        raw=seen,
    )


def _title(kind: Quantisation, threads: int) -> str:
    return f"{kind.title}, {threads} CPU{'s' * (threads > 1)}"


def _answer(session: Session) -> int:
    return session.small(32, 4)


async def _rounds(session: Session, kind: Quantisation, threads: int) -> Seen:
    model = session.model(kind=kind, context=CONTEXT)
    shares = {
        "chatglm": ["--model", str(model), "--workers", str(threads), "--threads", "1"],
        "llama": [*served(gguf(model), slots=CLIENTS, context=CONTEXT), "--threads", str(threads)],
    }
    seen: Seen = {engine: {measure: [] for measure in (*MEASURES, "first")} for engine in ENGINES}
    with ExitStack() as stack:
        servers = {
            engine: stack.enter_context(glmserve(session.folder, *shares[engine], "--no-prefix-reuse"))
            for engine in ENGINES
        }
        async with over("grpc", servers["llama"]) as target:
            words = [await words_for(target, tokens) for tokens in (SHORT, LONG)]
        for turn in range(session.rounds):
            for engine in ENGINES[:: -1 if turn % 2 else 1]:
                await _round(seen[engine], servers[engine], words, _answer(session), turn)
    return seen


async def _round(seen: dict[str, list[float]], server: Running, words: list[int], tokens: int, turn: int) -> None:
    prompts = Prompts(tokens=words[0], fixed=None, seed=turn)
    short, long = (prompts.words(count, -1) for count in words)
    async with over("grpc", server) as target:
        await ask(target, short, tokens=1)
        read, seconds = await _cost(server, target, long, 1)
        seen["prefill"].append(read / seconds)
        _, begun = await _cost(server, target, short, 1)
        _, ended = await _cost(server, target, short, 1 + tokens)
        seen["decode"].append(tokens / max(ended - begun, CLOCK))
        before = server.cpu_seconds()
        level = await load(target, prompts, clients=CLIENTS, requests=CLIENTS, tokens=tokens)
        answered = sum(exchange.tokens for exchange in level.exchanges)
        seen["together"].append(answered / max(server.cpu_seconds() - before, CLOCK))
        seen["pace"].append(answered / level.seconds)
        seen["first"].extend((exchange.first_token or 0) * 1000 for exchange in level.exchanges)


async def _cost(server: Running, target: Target, text: str, tokens: int) -> tuple[int, float]:
    """How many tokens the prompt had, and the CPU seconds that the request took."""
    before = server.cpu_seconds()
    usage = (await ask(target, text, tokens=tokens)).usage
    seconds = max(server.cpu_seconds() - before, CLOCK)
    if usage is None or usage.completion_tokens != tokens:
        raise RuntimeError(f"{server.grpc}: the answer has not {tokens} tokens: {usage}")
    return usage.prompt_tokens, seconds


def _table(title: str, seen: Seen) -> Table:
    rows = []
    for measure, name in MEASURES.items():
        values = [seen[engine][measure] for engine in ENGINES]
        rows.append([name, *map(spread, values), ratio(values[1], values[0])])
    for percent in (50, 95):
        times = [percentile(sorted(seen[engine]["first"]), percent) for engine in ENGINES]
        name = f"first token, {CLIENTS} clients, ms, p{percent}"
        rows.append([name, *map(number, times), f"{times[1] / times[0]:.2f}×"])
    return Table(title=title, columns=["", "chatglm-cpp", "llama.cpp", "ratio"], rows=rows)


if __name__ == "__main__":
    main(compare, name="llama_engines", missing=missing())
