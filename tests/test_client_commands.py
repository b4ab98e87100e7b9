"""`glmserve ask`, `models` and `tokens` as a terminal and a script meet them."""

import json
import os
import pty
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from paintings import encoded, painted
from running import COMMAND, MODEL, Glmserve
from terminal import CTRL_C, Terminal
from upstreams import DONE, HEAD, HELLO, Upstream, answer, chunk, failure, usage


def run(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command, to its end; `env` is added to the environment."""
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, check=False, env=environment, **options
    )


@pytest.fixture(params=["grpc", "url"])
def where(request: pytest.FixtureRequest, server: Glmserve) -> list[str]:
    """The flags that name `server`, over each wire."""
    return ["--grpc", server.grpc_address] if request.param == "grpc" else ["--url", server.openai_url]


def test_a_question_is_answered(where: list[str]) -> None:
    done = run("ask", "What is the capital of France?", "--model", MODEL, "--temperature", "0", *where)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The capital of France is Paris.\n", "")


def test_a_question_may_come_from_standard_input_and_the_answer_be_json(where: list[str]) -> None:
    done = run("ask", "-", "--model", MODEL, "--system", "You are Bob.", "--json", *where, input="What is your name?")
    reply = json.loads(done.stdout)
    assert "Bob" in reply["text"]
    assert (reply["model"], reply["finish_reason"], reply["tool_calls"]) == (MODEL, "stop", [])
    assert reply["usage"]["completion_tokens"] > 0
    assert "stats" not in reply


def test_a_question_is_put_together_from_words_and_standard_input(server: Glmserve) -> None:
    flags = ["--model", "scripted", "--grpc", server.grpc_address]
    assert run("ask", "Say", "this:", "-", *flags, input="one\ntwo\n").stdout == "Say this:\n\none\ntwo\n"
    assert run("ask", *flags, input="only this").stdout == "only this\n"


def test_how_to_answer_is_passed_on() -> None:
    flags = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "repetition_penalty": 1.1, "seed": 3}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    with Upstream() as upstream:
        more = ["--stop", "A", "--stop", "B", "--max-tokens", "9", "--reasoning-effort", "low", "--model", "m"]
        assert run("ask", "Hello!", "--url", upstream.url, *given, *more).returncode == 0
        body = upstream.body
    assert {name: body[name] for name in flags} == flags
    assert (body["stop"], body["max_completion_tokens"], body["reasoning_effort"]) == (["A", "B"], 9, "low")


def test_a_picture_goes_with_the_question(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(encoded(painted("rectangle", "red"), "PNG"))
    with Upstream() as upstream:
        run("ask", "What?", "--image", str(file), "--image", "https://x.test/a.png", "--url", upstream.url)
        first, second, text = upstream.body["messages"][0]["content"]
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert second["image_url"]["url"] == "https://x.test/a.png"
    assert text == {"type": "text", "text": "What?"}
    for name, said in (
        (f"{tmp_path}/gone.png", "there is no such file"),
        ("~nobody-such.png", "there is no such home"),
    ):
        refused = run("ask", "What?", "--image", name)
        assert (refused.returncode, said in " ".join(refused.stderr.replace("│", " ").split())) == (2, True)


def test_the_environment_names_server_key_and_model_and_flags_come_before_it() -> None:
    with Upstream() as upstream, Upstream(HELLO, b'{"data": [{"id": "other"}]}') as other:
        env = {"GLMSERVE_URL": upstream.url, "GLMSERVE_API_KEY": "secret", "GLMSERVE_MODEL": "m"}
        assert run("ask", "Hello!", env=env).stdout == "Hi\n"
        head, _ = upstream.requests[-1]
        assert b"Bearer secret" in head
        assert upstream.body["model"] == "m"
        flags = ["--url", other.url, "--model", "n", "--api-key", "another"]
        assert run("ask", "Hello!", *flags, env=env).returncode == 0
        assert b"Bearer another" in other.requests[-1][0]
        assert other.body["model"] == "n"
        assert "other" in run("models", "--url", other.url, env=env).stdout
        refused = run("models", "--grpc", "127.0.0.1:1", env=env)
        assert "no server answers at 127.0.0.1:1" in refused.stderr


def test_speeds_and_what_is_not_as_asked_are_told_beside_the_answer(where: list[str]) -> None:
    done = run("ask", "Hello!", "--model", MODEL, "--seed", "1", "--max-tokens", "2", "--stats", *where)
    assert done.stdout.count("\n") == 1
    ignored, cut, speed = done.stderr.splitlines()
    assert ignored == "glmserve: not honoured by the model: seed"
    assert "the answer is cut" in cut
    assert re.fullmatch(r"2 tokens · (\d+\.\d tokens/s · )?first after \d+\.\d\d s · prompt \d+.*", speed)
    stats = json.loads(run("ask", "Hello!", "--model", MODEL, "--stats", "--json", *where).stdout)["stats"]
    assert set(stats) == {"first_token_seconds", "tokens_per_second"}
    assert stats["first_token_seconds"] > 0


def test_models_are_listed(server: Glmserve) -> None:
    title, *rows = run("models", "--grpc", server.grpc_address).stdout.splitlines()
    assert title.split() == ["Model", "Engine", "Context", "Can"]
    assert [row.split() for row in rows] == [
        [MODEL, "chatglm", "2,048", "tools"],
        ["scripted", "scripted", "4,096", "text"],
    ]
    title, *rows = run("models", "--url", server.openai_url).stdout.splitlines()
    assert [title.split()[0], *(row.split()[0] for row in rows)] == ["Model", MODEL, "scripted"]
    (first, second) = json.loads(run("models", "--json", "--grpc", server.grpc_address).stdout)
    assert (first["id"], first["engine"], first["capabilities"]["tools"]) == (MODEL, "chatglm", True)
    assert second["id"] == "scripted"


def test_models_of_a_foreign_server_fit_the_terminal_and_do_not_command_it() -> None:
    models = [{"id": "vendor/" + "long-name-" * 12, "owned_by": "someone"}, {"id": "red \x1b[31malert"}]
    with (
        Upstream(models=json.dumps({"object": "list", "data": models}).encode()) as upstream,
        Terminal("models", "--url", upstream.url) as terminal,
    ):
        assert terminal.wait() == 0
        assert max(map(len, terminal.text.split("\n"))) <= 80
        assert models[0]["id"] in terminal.text.replace(" ", "").replace("\n", "").replace("someone", "")
        assert "red [31malert" in terminal.text
        assert b"\x1b[31m" not in terminal.raw


def test_tokens_are_counted(server: Glmserve) -> None:
    counts = []
    for where in (["--grpc", server.grpc_address], ["--url", server.openai_url]):
        flags = ["--model", MODEL, *where]
        assert re.fullmatch(r"\d+ of 2048\n", run("tokens", "Hello!", *flags).stdout)
        counts.append(json.loads(run("tokens", "-", "--json", *flags, input="Hello!").stdout))
    assert counts[0] == counts[1]
    assert counts[0]["prompt_tokens"] == len(counts[0]["token_ids"])


def test_tokens_are_not_counted_by_servers_that_have_no_way_to() -> None:
    with Upstream(answer("404 Not Found")) as upstream:
        refused = run("tokens", "Hello!", "--model", "any", "--url", upstream.url)
    assert (refused.returncode, "has no /tokenize" in refused.stderr) == (1, True)


def test_what_fails_is_one_line_and_a_status(where: list[str]) -> None:
    done = run("ask", "Hello!", "--model", "gpt-9", *where)
    assert done.returncode == 1
    assert re.fullmatch(r"glmserve: .*'gpt-9' does not exist.*\n", done.stderr)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = run("ask", "Hello!", "--grpc", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert done.stderr.endswith("; start one with: glmserve up\n")
    assert "Traceback" not in done.stderr


def test_programs_are_told_what_failed_as_json(where: list[str]) -> None:
    done = run("ask", "Hello!", "--model", MODEL, "--temperature", "3", "--json", *where)
    assert (done.returncode, done.stderr) == (1, "")
    message = "temperature must be between 0 and 2, not 3"
    violations = [{"field": "temperature", "description": message}]
    assert json.loads(done.stdout)["error"] == {
        "type": "BadRequest",
        "message": message,
        "violations": violations,
        "retry_after": None,
    }


def test_programs_are_told_when_to_come_back() -> None:
    with Upstream(failure("429 Later", "retry-after: 90", message="Later.")) as upstream:
        done = run("ask", "Hello!", "--url", upstream.url, "--json")
        assert json.loads(done.stdout)["error"]["retry_after"] == 90
        assert "(try again after 90 s)" in run("ask", "Hello!", "--url", upstream.url).stderr


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    with Upstream(HEAD + chunk({"content": "half"})) as upstream:
        done = run("ask", "Hello!", "--url", upstream.url)
        assert (done.returncode, done.stdout) == (1, "half\n")
        assert done.stderr.startswith("glmserve: ")


def test_ctrl_c_ends_it(server: Glmserve) -> None:
    with Terminal("ask", "/slow", "--model", "scripted", "--grpc", server.grpc_address) as terminal:
        terminal.see(" 3 4 5")
        terminal.write(CTRL_C, enter=False)
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize(
    "flags",
    [
        ["Hello!", "--url", "nowhere"],
        ["Hello!", "--url", "http://h/v1", "--grpc", "h:1"],
        ["Hello!", "--max-tokens", "0"],
        ["Hello!", "--url", "http://example.com", "--api-key", "secret"],
        ["Hello!", "--ca", "/nowhere.pem", "--url", "grpcs://h"],
        [" "],
    ],
)
def test_wrong_usage_has_a_status_of_its_own(flags: list[str]) -> None:
    done = run("ask", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_standard_input_that_is_no_text_is_refused() -> None:
    done = subprocess.run([COMMAND, "ask", "-"], input=b"\xff\xfe", capture_output=True, check=False)
    assert (done.returncode, b"not UTF-8" in done.stderr) == (2, True)


def test_a_terminal_is_not_told_what_to_do(server: Glmserve) -> None:
    """The scripted model says what it is told, and a terminal would obey an escape sequence in it."""
    ours, theirs = pty.openpty()
    arguments = [str(COMMAND), "ask", "red \x1b[31malert\x07", "--model", "scripted", "--grpc", server.grpc_address]
    subprocess.run(arguments, stdout=theirs, check=True)
    assert os.read(ours, 1000) == b"red [31malert\r\n"
    os.close(theirs)
    os.close(ours)


def test_signs_that_a_terminal_lacks_are_written_in_others() -> None:
    with Upstream(HEAD + chunk({"content": "你好"}) + chunk(finish="stop") + DONE) as upstream:
        done = run("ask", "Hello!", "--url", upstream.url, env={"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stdout) == (0, "\\u4f60\\u597d\n")


def test_thoughts_are_for_terminals_alone() -> None:
    script = HEAD + chunk({"reasoning_content": "Hm."}) + chunk({"content": "Yes."}) + chunk(finish="stop")
    with Upstream(script + usage(1, 2) + DONE) as upstream:
        assert run("ask", "Hello!", "--url", upstream.url).stdout == "Yes.\n"
        with Terminal("ask", "Hello!", "--url", upstream.url) as terminal:
            assert terminal.wait() == 0
            assert terminal.text == "Hm.\n\nYes."
            assert b"\x1b[2mHm." in terminal.raw
