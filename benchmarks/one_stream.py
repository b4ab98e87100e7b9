"""One stream: chatglm-cpp's bare token loop, the same over gRPC, and the same through Envoy as SSE."""

from pathlib import Path
from typing import Final

from benchmarks.bare import Bare, bare
from benchmarks.clients import ask, over
from benchmarks.comparison import Session, main
from benchmarks.result import Result, Table, ratio, spread
from benchmarks.serving import Running, glmserve
from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message
from glmserve.v1.token_pb2 import CountTokensRequest
from glmserve.v1.token_pb2_grpc import TokenServiceStub
from glmserve_client.bench.prompts import Prompts

SIDES: Final = ("bare", "grpc", "http")
TITLES: Final = {"bare": "bare token loop", "grpc": "gRPC", "http": "Envoy, SSE"}
CONTEXT: Final = 2048

Seconds = dict[str, list[dict[str, float]]]
"""By side, round by round: seconds to the first token and in all, and tokens."""


async def compare(session: Session) -> Result:
    """Both models, one after the other."""
    import glmserve_server

    embedded = Path(glmserve_server.__file__).parent / "embedded" / "tiny-glm4.bin"
    large, few, many = session.model(), session.small(64, 8), session.small(512, 32)
    raw = {
        f"{name}, {threads} thread{'s' * (threads > 1)}": await _rounds(session, model, tokens, threads)
        for name, model, tokens in (("300M, q8_0", large, few), ("tiny-glm4", embedded, many))
        for threads in (1, 2)
    }
    return Result(
        title="What serving costs one stream",
        method=f"The same model file, prompt (64 words) and greedy answer, 1 worker, {session.rounds} "
        "rounds in turns. Medians, least and greatest in brackets; ratios are medians of the rounds' ratios.",
        tables=[_table(name, seconds) for name, seconds in raw.items()],
        raw=raw,
    )


async def _rounds(session: Session, model: Path, tokens: int, threads: int) -> Seconds:
    arguments = ["--model", str(model), "--workers", "1", "--threads", str(threads), "--no-prefix-reuse"]
    prompts = Prompts(tokens=64, fixed=None, seed=0)
    seconds: Seconds = {side: [] for side in SIDES}
    with glmserve(session.folder, *arguments) as server, bare(model, context=CONTEXT, threads=threads) as loop:
        for number in range(-1, session.rounds):  # the first one warms up
            text = prompts.words(64, number)
            for side in SIDES[number % 3 :] + SIDES[: number % 3]:
                measured = await _one(side, server, loop, text, tokens)
                if number >= 0:
                    seconds[side].append(measured)
    return seconds


async def _one(side: str, server: Running, loop: Bare, text: str, tokens: int) -> dict[str, float]:
    if side == "bare":
        answer = loop.run(await _ids(server, text), tokens)
        return {"first": answer["first"], "total": answer["total"], "tokens": tokens}
    async with over(side, server) as target:
        exchange = await ask(target, text, tokens=tokens)
    if exchange.tokens != tokens:
        raise RuntimeError(f"{side} gave {exchange.tokens} tokens, not {tokens}")
    return {"first": exchange.first_token or 0, "total": exchange.ended - exchange.begun, "tokens": tokens}


async def _ids(server: Running, text: str) -> list[int]:
    import grpc.aio

    message = Message(role=message_pb2.ROLE_USER, content=[ContentPart(text=text)])
    request = CountTokensRequest(chat=ChatCompletionRequest(messages=[message]), include_token_ids=True)
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        return list((await TokenServiceStub(channel).CountTokens(request)).token_ids)


def _table(name: str, seconds: Seconds) -> Table:
    pace = {side: [run["tokens"] / run["total"] for run in runs] for side, runs in seconds.items()}
    first = {side: [run["first"] * 1000 for run in runs] for side, runs in seconds.items()}
    return Table(
        title=name,
        columns=["", "tokens/s, prompt included", "of bare", "first token, ms"],
        rows=[
            [TITLES[side], spread(pace[side]), ratio(pace[side], pace["bare"]), spread(first[side])] for side in SIDES
        ],
    )


if __name__ == "__main__":
    main(compare, name="one_stream", rounds=5)
