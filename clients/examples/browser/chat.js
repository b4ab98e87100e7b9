// A chat with fetch and server-sent events. What a model writes is only ever text here, never HTML.

const server = new URLSearchParams(location.search).get("server") ?? "http://127.0.0.1:8080/v1";
const ids = ["model", "key", "talk", "error", "form", "question", "send", "stop"];
const [model, key, talk, error, form, question, send, stop] = ids.map((id) => document.getElementById(id));
const messages = [];
let answering = null; // the AbortController of the answer that is coming

/** A response that is no error. Throws what the server says is wrong. The key is in no address, and kept nowhere. */
async function fetched(path, { headers, ...options } = {}) {
  const keyed = key.value && { authorization: `Bearer ${key.value}` };
  const response = await fetch(server + path, { headers: { ...headers, ...keyed }, ...options });
  if (!response.ok) throw new Error((await response.json()).error.message);
  return response;
}

/** The data of each server-sent event of a response. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) yield event.replace(/^data: /, "");
  }
}

/** The pieces of an answer. Throws what the server says is wrong, and if the answer ends in the middle. */
async function* answer(request, signal) {
  const response = await fetched("/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  for await (const data of eventsOf(response)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    yield chunk.choices[0]?.delta.content ?? "";
  }
  throw new Error("The answer ended in the middle.");
}

function scroll() {
  talk.scrollTop = talk.scrollHeight;
}

function shown(role, text) {
  const line = document.createElement("p");
  line.className = role;
  line.textContent = text;
  talk.append(line);
  scroll();
  return line;
}

function show(problem) {
  error.textContent = problem;
  error.hidden = !problem;
  scroll();
}

function busy(controller) {
  answering = controller;
  send.hidden = controller !== null;
  stop.hidden = controller === null;
}

async function ask(text) {
  show("");
  busy(new AbortController());
  shown("user", text);
  messages.push({ role: "user", content: text });
  const line = shown("assistant", "");
  try {
    for await (const piece of answer({ model: model.value, messages }, answering.signal)) {
      line.textContent += piece;
      scroll();
    }
  } catch (problem) {
    if (problem.name !== "AbortError") show(problem.message);
  }
  if (line.textContent) {
    messages.push({ role: "assistant", content: line.textContent });
  } else {
    messages.pop(); // what was not answered is not part of the conversation
    line.remove();
  }
  busy(null);
  question.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (!text || answering) return;
  question.value = "";
  ask(text);
});

question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

stop.addEventListener("click", () => answering?.abort());

async function listModels() {
  try {
    const { data } = await (await fetched("/models")).json();
    model.replaceChildren(...data.map(({ id }) => new Option(id, id)));
    show("");
  } catch (problem) {
    show(problem instanceof TypeError ? `There is no server at ${server}.` : problem.message);
  }
}

key.addEventListener("change", listModels);
listModels();
