"""`glmserve chat` as a person at a terminal meets it."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paintings import encoded, painted
from running import COMMAND, MODEL, Glmserve
from terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, TAB, UP, Terminal
from upstreams import DONE, HEAD, HELLO, Upstream, chunk, failure, until_left

GREETING = "/help lists the commands"


@pytest.fixture(params=["grpc", "url"])
def where(request: pytest.FixtureRequest, server: Glmserve) -> list[str]:
    """The flags that name `server`, over each wire."""
    return ["--grpc", server.grpc_address] if request.param == "grpc" else ["--url", server.openai_url]


@pytest.fixture(scope="module")
def echo(server: Glmserve) -> Iterator[Terminal]:
    """A conversation with the scripted model, which says what it is told. See `chat`."""
    with Terminal("chat", "--model", "scripted", "--grpc", server.grpc_address) as terminal:
        yield terminal


@pytest.fixture
def chat(echo: Terminal) -> Terminal:
    """The same as if it had just begun: starting one takes long."""
    echo.ask("/new")
    return echo


@pytest.fixture(scope="module")
def abroad() -> Iterator[tuple[Upstream, Terminal]]:
    """A scripted foreign server, and a conversation with it. See `foreign`."""
    with Upstream() as upstream, Terminal("chat", "--model", "m", "--url", upstream.url) as terminal:
        yield upstream, terminal


@pytest.fixture
def foreign(abroad: tuple[Upstream, Terminal]) -> tuple[Upstream, Terminal]:
    """The same as if it had just begun."""
    abroad[1].ask("/new")
    return abroad


def joined(text: str) -> str:
    """The text without its white space: a long path breaks a line anywhere."""
    return "".join(text.split())


def streamed(*texts: str, **delta: str) -> bytes:
    """An answer of a foreign server, in these pieces."""
    pieces = [chunk({"content": text}) for text in texts]
    return HEAD + chunk({"role": "assistant", **delta}) + b"".join(pieces) + chunk(finish="stop") + DONE


def test_a_conversation_is_remembered(where: list[str]) -> None:
    with Terminal("chat", "--model", MODEL, "--temperature", "0", *where) as terminal:
        terminal.see(GREETING)
        assert "Ada" in terminal.ask("Hello! My name is Ada.")
        assert "Ada" in terminal.ask("What is my name?").split("?")[1]
        assert "The capital of France is Paris." in terminal.ask("What is the capital of France?")
        terminal.write(CTRL_D, enter=False)
        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_ctrl_c_stops_the_answer_and_not_the_program(chat: Terminal, tmp_path: Path) -> None:
    chat.write("//slow")
    chat.see(" 12 13")
    chat.write(CTRL_C, enter=False)
    chat.see("Stopped; what came is kept")
    assert "hello there" in chat.ask("hello there")
    chat.ask(f"/save {tmp_path}/talk.json")
    question, cut, *others = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert question == {"role": "user", "content": "/slow"}
    assert cut["cut"] is True
    assert cut["content"].startswith(" 0 1 2 3")
    assert others == [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "hello there"}]


def test_ctrl_c_may_come_more_than_once(chat: Terminal) -> None:
    for _ in range(3):
        chat.write("//slow")
        chat.see(" 12 13")
        chat.write(CTRL_C * 3, enter=False)
        chat.see("Stopped; what came is kept")
        chat.see_last(">")
    assert chat.ask("still here").endswith("\n\nstill here")


def test_ctrl_c_before_the_first_word_leaves_the_question_to_be_asked_again(
    foreign: tuple[Upstream, Terminal],
) -> None:
    upstream, terminal = foreign
    upstream.script = until_left
    terminal.write("Hello?")
    terminal.see("…")
    terminal.write(CTRL_C, enter=False)
    terminal.see("Stopped; /retry asks again.")
    upstream.script = HELLO
    assert "Hi" in terminal.ask("/retry")
    assert upstream.body["messages"] == [{"role": "user", "content": "Hello?"}]


def test_ctrl_c_clears_the_line(chat: Terminal) -> None:
    chat.write("half a li", enter=False)
    chat.see("> half a li")
    chat.write(CTRL_C, enter=False)
    chat.see_last(">")
    chat.write(CTRL_C, enter=False)
    chat.see("Ctrl-D or /quit leaves.")
    assert chat.ask("whole").split() == ["whole", "whole"]


def test_a_question_may_have_lines(chat: Terminal, tmp_path: Path) -> None:
    ways = [
        f"one{ALT_ENTER}two{ENTER}",
        f"one\\{ENTER}two{ENTER}",
        f'"""one{ENTER}two"""{ENTER}',
        f"\x1b[200~one\ntwo\x1b[201~{ENTER}",
    ]
    for keys in ways:
        assert chat.enter(keys).endswith("\n\none\ntwo")
    chat.ask(f"/save {tmp_path}/talk.json")
    messages = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert [message["content"] for message in messages] == ["one\ntwo"] * 8


def test_earlier_lines_come_back_and_commands_are_completed(chat: Terminal, tmp_path: Path) -> None:
    chat.ask("once more")
    chat.write(UP, enter=False)
    chat.see_last("> once more")
    assert chat.enter(ENTER) == "once more\n\nonce more"
    chat.write(f"/sa{TAB}", enter=False)
    chat.see_last("> /save")
    assert "Saved" in chat.enter(f" {tmp_path}/talk.json{ENTER}")
    chat.write(f"/load {tmp_path}/ta{TAB}", enter=False)
    whole = f"/load {tmp_path}/talk.json"
    chat.see_that(lambda seen: whole in seen.replace("\n  ", ""), whole)  # however it is broken into lines
    assert "Loaded 4 messages" in chat.enter(ENTER)


def test_what_is_saved_is_loaded_again(server: Glmserve, tmp_path: Path) -> None:
    flags = ["--grpc", server.grpc_address]
    with Terminal("chat", *flags, "--model", MODEL, "--system", "You are Bob.", cwd=tmp_path) as first:
        first.see(GREETING)
        first.ask("Hello! My name is Ada.")
        first.ask("/save talk.json")
        first.ask("/new")
        assert "exists, and is kept" in first.ask("/save talk.json")
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert saved["model"] == MODEL
    assert [message["role"] for message in saved["messages"]] == ["system", "user", "assistant"]

    with Terminal("chat", *flags, cwd=tmp_path) as second:
        second.see(GREETING)
        second.ask("/load talk.json")
        assert "You are Bob." in second.ask("/system")
        second.ask("What is my name?")
        second.ask("/save")
    again = json.loads((tmp_path / "talk.json").read_text())
    assert again["messages"][:3] == saved["messages"]
    assert len(again["messages"]) == 5

    with Terminal("chat", *flags, "--load", "talk.json", "--model", "scripted", cwd=tmp_path) as third:
        assert "scripted at" in third.see(GREETING)
        assert "You are Bob." in third.ask("/system")


def test_a_question_without_an_answer_is_saved_too(chat: Terminal, tmp_path: Path) -> None:
    chat.ask("//fail")
    chat.ask(f"/save {tmp_path}/talk.json")
    assert json.loads((tmp_path / "talk.json").read_text())["messages"] == [{"role": "user", "content": "/fail"}]
    chat.ask("/new")
    assert "/retry asks it." in chat.ask(f"/load {tmp_path}/talk.json")
    assert "The script failed" in chat.ask("/retry")


NO_CONVERSATIONS = {
    "no JSON": "Invalid JSON",
    '{"messages": 1}': "messages: Input should be a valid array",
    '[{"role": "robot", "content": ""}]': "0.role: Input should be",
    '[{"role": "user", "content": [{"type": "audio"}]}]': "0.content",
    '[{"role": "user", "content": "\\ud800"}]': "unexpected end of hex escape",
}


def test_a_file_that_holds_no_conversation_is_refused_and_nothing_is_lost(chat: Terminal, tmp_path: Path) -> None:
    chat.ask("keep this")
    for content, reason in NO_CONVERSATIONS.items():
        (tmp_path / "bad.json").write_text(content)
        shown = joined(chat.ask(f"/load {tmp_path}/bad.json"))
        assert joined("bad.json holds no conversation") in shown
        assert joined(reason) in shown
    chat.ask(f"/save {tmp_path}/talk.json")
    assert len(json.loads((tmp_path / "talk.json").read_text())["messages"]) == 2


def test_files_that_cannot_be_used_are_named(chat: Terminal, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    assert joined(f"{tmp_path}/gone.json: there is no such file") in joined(chat.ask(f"/load {tmp_path}/gone.json"))
    assert "/nowhere/x.json cannot be written" in chat.ask("/save /nowhere/x.json")
    assert "gone.png: there is no such file" in chat.ask("/image gone.png")
    assert joined("text.png: an image must be PNG") in joined(chat.ask(f"/image {tmp_path}/text.png"))
    assert "/dev/zero: there is no such file" in chat.ask("/image /dev/zero")
    assert "no closing quotation" in chat.ask("/image 'open")


@pytest.mark.parametrize("command", ["/save", "/load", "/image"])
def test_a_name_that_no_file_can_have_is_told_and_nothing_is_lost(chat: Terminal, tmp_path: Path, command: str) -> None:
    chat.ask("keep this")
    assert joined("~nobody-such/x: there is no such home") in joined(chat.ask(f"{command} ~nobody-such/x"))
    long = f"{tmp_path}/{'a' * 300}"
    assert joined("File name too long") in joined(chat.ask(f"{command} {long}"))
    chat.ask(f"/save {tmp_path}/talk.json")
    assert len(json.loads((tmp_path / "talk.json").read_text())["messages"]) == 2


def test_a_failed_question_is_asked_again(foreign: tuple[Upstream, Terminal]) -> None:
    upstream, terminal = foreign
    upstream.script = failure("500 Oops", message="It broke.")
    assert "It broke." in terminal.ask("Hello?")
    upstream.script = HEAD + chunk({"content": "half an ans"})
    shown = terminal.ask("/retry")
    assert "half an ans" in shown
    assert "/retry asks again." in shown
    upstream.script = HELLO
    assert "Hi" in terminal.ask("/retry")
    terminal.ask("And now?")
    assert [message["content"] for message in upstream.body["messages"]] == ["Hello?", "Hi", "And now?"]


def test_an_answer_is_kept_until_another_one_comes(foreign: tuple[Upstream, Terminal]) -> None:
    upstream, terminal = foreign
    upstream.script = HELLO
    terminal.ask("Hello?")
    upstream.script = failure("500 Oops", message="It broke.")
    assert "The former answer is kept." in terminal.ask("/retry")
    upstream.script = streamed("Another")
    terminal.ask("/retry")
    terminal.ask("And now?")
    assert [message["content"] for message in upstream.body["messages"]] == ["Hello?", "Another", "And now?"]
    assert "Forgotten: And now?" in terminal.ask("/undo")
    terminal.ask("Or then?")
    assert [message["content"] for message in upstream.body["messages"]] == ["Hello?", "Another", "Or then?"]


def test_a_server_goes_away_and_comes_back() -> None:
    with Glmserve("serve", "--model", "scripted") as first:
        address = first.grpc_address
        terminal = Terminal("chat", "--grpc", address)
        terminal.see_last(">")
        terminal.ask("are you there?")
    with terminal:
        assert "no server answers" in terminal.ask("and now?")
        with Glmserve("serve", "--model", "scripted", "--grpc-port", address.rpartition(":")[2]):
            while "no server answers" in (shown := terminal.ask("/retry")):
                pass  # gRPC waits up to 5 seconds before it tries again
            assert shown.split() == ["/retry", "and", "now?"]


def test_a_picture_goes_with_the_next_question(tmp_path: Path) -> None:
    (tmp_path / "red one.png").write_bytes(encoded(painted("rectangle", "red"), "PNG"))
    with (
        Glmserve("serve", "--model", "tiny-glm4v", "--workers", "1") as seeing,
        Terminal("chat", "--grpc", seeing.grpc_address, "--temperature", "0", cwd=tmp_path) as terminal,
    ):
        terminal.see(GREETING)
        terminal.write("/image 'red one.png'")
        terminal.see_last("[1 image] >")
        terminal.write("What colour is it?")
        terminal.see_that(lambda screen: re.search(r"\n[^>\n]*[Rr]ed[^\n]*\n\n>$", screen) is not None, "red")


HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b2J [red]no markup[/red] &#27;[5m :smile: \u202egnp.exe\r<http://a/%1b[31m>\n\nafter"
)


def test_what_a_model_says_commands_no_terminal(foreign: tuple[Upstream, Terminal]) -> None:
    upstream, terminal = foreign
    upstream.script = streamed(HOSTILE, reasoning_content=HOSTILE)
    terminal.ask("Hello?")
    shown = terminal.see("after")
    assert shown.count("]0;owned[2J2J [red]no markup[/red]") == 2
    assert ":smile: gnp.exe<http://a/%1b[31m>" in shown
    sequences = set(re.findall(rb"\x1b\[[\x30-\x3f]*[\x20-\x2f]*([\x40-\x7e])", terminal.raw))
    assert sequences <= {bytes([final]) for final in b"mKAJCDGHhln"}
    assert b"\x1b[2J" not in terminal.raw
    assert b"\x1b]" not in terminal.raw
    assert "\u202e".encode() not in terminal.raw
    terminal.see_last(">")


def test_thoughts_are_dimmed_and_stand_apart(foreign: tuple[Upstream, Terminal]) -> None:
    upstream, terminal = foreign
    script = streamed("The answer.", reasoning_content="Let me think.")
    upstream.script = script
    assert "Let me think.\n\nThe answer." in terminal.ask("Hello?")
    assert re.search(rb"\x1b\[2m[^\x1b]*Let me think", terminal.raw)
    assert not re.search(rb"\x1b\[2m[^\x1b]*The answer", terminal.raw)


MARKDOWN = """# A title

First a **bold** word and a [link](https://example.com).

1. one
1. two
   - inner
1. three

```python
{code}
```

| a | b |
|---|---|
| 1 | 2 |

Last `words`."""


def test_markdown_is_drawn_once_however_it_comes(foreign: tuple[Upstream, Terminal]) -> None:
    upstream, terminal = foreign
    code = [f"line_{number} = {number}" for number in range(60)]
    text = MARKDOWN.replace("{code}", "\n".join(code))
    pieces = re.findall(r"\s*\S{1,5}", text)
    upstream.script = streamed(*pieces)
    shown = terminal.ask("Hello?")
    lines = [line for line in shown.split("\n") if line]
    assert lines[lines.index("A title") :] == [
        "A title",
        "First a bold word and a link (https://example.com).",
        " 1 one",
        " 2 two",
        "    • inner",
        " 3 three",
        f"python {'─' * 73}",
        *code,
        "─" * 80,
        " a  b",
        " ────",
        " 1  2",
        "Last words.",
    ]


def test_a_long_line_is_wrapped_and_printed_once(chat: Terminal) -> None:
    words = [f"word{number}" for number in range(500)]
    shown = chat.ask(" ".join(words))
    assert shown.rpartition("\n\n")[2].split() == words
    assert max(map(len, shown.split("\n"))) <= 80


def test_models_and_instructions_are_changed_on_the_way(server: Glmserve) -> None:
    with Terminal("chat", "--grpc", server.grpc_address) as terminal:
        assert f"{MODEL} (of 2: /model)" in terminal.see(GREETING)
        listed = terminal.ask("/model")
        assert re.search(rf"Model.*\n{MODEL} .*\nscripted ", listed)
        assert "No instructions." in terminal.ask("/system")
        terminal.ask("/system You are Bob.")
        assert "Bob" in terminal.ask("What is your name?").split("?")[1]
        terminal.ask("/model scripted")
        assert terminal.ask("say this").split() == ["say", "this"] * 2
        assert "does not list gpt-9" in " ".join(terminal.ask("/model gpt-9").split())
        assert "'gpt-9' does not exist" in terminal.ask("Hello?")


def test_a_server_need_not_list_its_models() -> None:
    with Upstream(HELLO) as upstream:
        upstream.models = failure("404 Not Found", message="No.")
        with Terminal("chat", "--url", upstream.url) as terminal:
            assert "does not list its models" in terminal.ask("/model")
            terminal.ask("/model other")
            assert "Hi" in terminal.ask("Hello?")
            assert upstream.body["model"] == "other"


def test_speeds_are_shown_on_request(chat: Terminal) -> None:
    assert "tokens" not in chat.ask("one two three")
    chat.ask("/stats")
    assert re.search(r"6 tokens · .*first after \d+\.\d\d s · prompt \d+", chat.ask("a b c d e f"))
    chat.ask("/stats")
    assert "tokens" not in chat.ask("one two three")


def test_a_command_that_does_not_exist_is_no_question(chat: Terminal) -> None:
    assert "There is no /nope; /help lists the commands." in chat.ask("/nope now")
    listed = chat.ask("/help")
    assert all(f"\n{name}" in listed for name in ("/system", "/image", "/save", "/load", "/retry", "/undo", "/quit"))
    assert max(map(len, listed.split("\n"))) < 80


def test_a_terminal_that_can_do_nothing_is_enough(server: Glmserve) -> None:
    arguments = ["chat", "--model", MODEL, "--grpc", server.grpc_address]
    with Terminal(*arguments, environment={"TERM": "dumb", "NO_COLOR": "1"}) as terminal:
        terminal.see(GREETING)
        assert "The capital of France is Paris." in terminal.ask("What is the capital of France?")
        assert b"\x1b" not in terminal.raw


def test_colours_are_left_out_on_request() -> None:
    script = streamed("# Title\n\n- `code`\n")
    with (
        Upstream(script) as upstream,
        Terminal("chat", "--url", upstream.url, environment={"NO_COLOR": "1"}) as terminal,
    ):
        terminal.ask("Hello?")
        assert not re.search(rb"\x1b\[([0-9]+;)*(3[0-9]|4[0-9]|9[0-9])[;m]", terminal.raw)


@pytest.mark.parametrize("way", ["/quit", "SIGTERM"])
def test_who_leaves_finds_the_terminal_as_it_was(server: Glmserve, way: str) -> None:
    with Terminal("chat", "--model", "scripted", "--grpc", server.grpc_address) as terminal:
        terminal.see_last(">")
        if way == "/quit":
            terminal.write(way)
            assert terminal.wait() == 0
        else:
            terminal.signal(signal.SIGTERM)
            assert terminal.wait() == 143
        assert terminal.is_as_before


def test_what_cannot_begin_says_why() -> None:
    done = subprocess.run([COMMAND, "chat"], input="Hello!", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "glmserve ask" in done.stderr
    with Terminal("chat", "--grpc", "127.0.0.1:1") as terminal:
        assert terminal.wait() == 1
        assert "start one with: glmserve up" in " ".join(terminal.screen.split())
