"""From tokens to text: whole characters and stop strings, however the pieces fall."""

import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from faces import opened
from running import MODEL, Glmserve

from glmserve_server.text import StopStrings, Utf8

TEXTS = [
    "",
    "Hello, world!",
    "What's 12345 + 67? It's 12412.",
    "你好，世界！今天天气怎么样？",
    "tabs\tand\nnew lines\r\n\r\nand   spaces",
    "emoji 🙂👩‍👩‍👧‍👦🇫🇷 and accents: naïve, Ωmega, ﬁ",
    "<|user|> [gMASK] <sop> <|endoftext|> are letters",
    "def f(x):\n    return x ** 2  # código\n",
    "\x00\x01 control \x7f",
]


def cut(text: bytes, seed: int) -> list[bytes]:
    """The same bytes in pieces of random sizes."""
    places = sorted(random.Random(seed).sample(range(len(text) + 1), k=min(5, len(text))))
    return [text[start:end] for start, end in pairwise([0, *places, len(text)])]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("seed", range(5))
def test_characters_are_whole_wherever_the_bytes_are_cut(text: str, seed: int) -> None:
    characters = Utf8()
    assert "".join(characters.feed(piece) for piece in cut(text.encode(), seed)) == text


def test_bytes_that_are_no_text_become_replacement_characters_and_an_unfinished_one_is_dropped() -> None:
    characters = Utf8()
    assert characters.feed(b"a\xff\xfeb") == "a\ufffd\ufffdb"
    assert characters.feed("é".encode()[:1]) == ""


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("text", "stops", "shown", "matched"),
    [
        ("abcabd", ["abd"], "abc", "abd"),
        ("aaab", ["aab"], "a", "aab"),
        ("one two three", ["three", "two"], "one ", "two"),
        ("abc", ["abcd", "x"], "abc", None),
        ("abab", ["abac"], "abab", None),
        ("你好世界", ["世"], "你好", "世"),
        ("stop", ["stop"], "", "stop"),
    ],
)
def test_a_stop_string_is_found_across_pieces(
    size: int, text: str, stops: list[str], shown: str, matched: str | None
) -> None:
    strings, given = StopStrings(stops), ""
    for start in range(0, len(text), size):
        given += strings.feed(text[start : start + size])
        if strings.matched is not None:
            break
    assert (given + strings.flush(), strings.matched) == (shown, matched)


@pytest.mark.parametrize("threads", [1, 3, 4])
def test_the_library_is_told_the_number_of_threads(threads: int) -> None:
    library = Path(sys.modules["glmserve_server"].__path__[0]) / "engines/chatglm/libhardware_concurrency.so"
    code = (
        f"import ctypes; ctypes.CDLL({str(library)!r}, mode=ctypes.RTLD_GLOBAL); import chatglm_cpp; "
        "print(ctypes.CDLL(None)._ZNSt6thread20hardware_concurrencyEv())"
    )
    environment = {**os.environ, "GLMSERVE_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_worker_has_as_many_threads_as_it_is_given(threads: int) -> None:
    with (
        Glmserve("serve", "--model", MODEL, "--workers", "1", "--threads", str(threads)) as server,
        opened("grpc", server) as way,
    ):
        (worker,) = server.workers()
        most = 0
        for _ in way.stream([("user", "Hello!")], model=MODEL, ignore_eos=True, max_completion_tokens=300):
            most = max(most, worker.num_threads())
            if most > 1:
                break
    assert most == threads
