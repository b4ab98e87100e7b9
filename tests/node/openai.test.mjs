// OpenAI's package for Node against the edge at $GLMSERVE_URL: what it offers for chat.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

// The package is where the examples have it.
const installed = createRequire(new URL("../../clients/examples/node/package.json", import.meta.url));
const { OpenAI } = installed("openai");

const baseURL = process.env.GLMSERVE_URL;
const options = { baseURL, apiKey: "any", maxRetries: 0, timeout: 30_000 };
const client = new OpenAI(options);
const chat = client.chat.completions;

const ANSWER = "The capital of France is Paris.";
const weather = {
  name: "get_weather",
  description: "The weather in a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

function asked(question, more = {}) {
  return {
    model: "tiny-glm4",
    messages: [{ role: "user", content: question ?? "What is the capital of France?" }],
    temperature: 0,
    ...more,
  };
}

async function collected(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("a whole answer, with its request's id", async () => {
  const { data, response, request_id } = await chat.create(asked()).withResponse();
  assert.equal(data.choices[0].message.content, ANSWER);
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
  assert.equal(response.headers.get("x-request-id"), request_id);
});

test("a streamed answer with its usage", async () => {
  const chunks = await collected(await chat.create(asked(null, { stream: true, stream_options: { include_usage: true } })));
  assert.equal(textOf(chunks), ANSWER);
  assert.equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size, 1);
  assert.deepEqual(chunks.map((chunk) => chunk.usage == null), chunks.map((_, index) => index < chunks.length - 1));
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test("the stream helper", async () => {
  const pieces = [];
  const stream = chat.stream(asked()).on("content", (piece) => pieces.push(piece));
  assert.equal(await stream.finalContent(), ANSWER);
  assert.equal(pieces.join(""), ANSWER);
  assert.equal((await stream.finalChatCompletion()).choices[0].finish_reason, "stop");
});

test("a stream passed on as a web stream", async () => {
  const passed = (await chat.create(asked(null, { stream: true }))).toReadableStream();
  let text = "";
  for await (const bytes of passed) text += new TextDecoder().decode(bytes);
  assert.equal(textOf(text.trim().split("\n").map(JSON.parse)), ANSWER);
});

test("several choices", async () => {
  const answer = await chat.create(asked(null, { n: 2 }));
  assert.deepEqual(answer.choices.map(({ index, message }) => [index, message.content]), [[0, ANSWER], [1, ANSWER]]);
});

test("stop strings and limits", async () => {
  const stopped = await chat.create(asked(null, { stop: ["Paris"] }));
  assert.equal(stopped.choices[0].message.content, "The capital of France is ");
  const cut = await chat.create(asked(null, { max_completion_tokens: 2 }));
  assert.equal(cut.choices[0].finish_reason, "length");
});

test("text of all the world", async () => {
  const text = '你好 — Привет 👩‍👩‍👧‍👦 \u2028 "\\" </s>';
  const whole = await chat.create(asked(text, { model: "scripted" }));
  assert.equal(whole.choices[0].message.content, text);
  assert.equal(textOf(await collected(await chat.create(asked(text, { model: "scripted", stream: true })))), text);
});

test("a picture", async () => {
  const image_url = { url: process.env.GLMSERVE_PICTURE };
  const content = [{ type: "image_url", image_url }, { type: "text", text: "What is in the picture?" }];
  const answer = await chat.create(asked(content, { model: "tiny-glm4v" }));
  assert.equal(answer.choices[0].message.content, "A red circle.");
});

for (const stream of [false, true]) {
  test(`a function is called and its result told, streamed: ${stream}`, async () => {
    const cities = [];
    const get_weather = ({ city }) => {
      cities.push(city);
      return { temperature: 21, condition: "sunny" };
    };
    const runner = chat.runTools(
      asked("What is the weather in Paris?", {
        stream,
        tools: [{ type: "function", function: { ...weather, function: get_weather, parse: JSON.parse } }],
      }),
    );
    assert.match(await runner.finalContent(), /21/);
    assert.deepEqual(cities, ["Paris"]);
  });
}

test("calls stream their arguments in pieces", async () => {
  const tools = [{ type: "function", function: weather }];
  const chunks = await collected(await chat.create(asked("What is the weather in Paris?", { tools, stream: true })));
  const [first, ...others] = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
  assert.equal(first.function.name, "get_weather");
  assert.ok(first.id && others.length);
  const written = [first, ...others].map((call) => call.function.arguments).join("");
  assert.deepEqual(JSON.parse(written), { city: "Paris" });
});

test("a JSON Schema is refused by name, and held to by a model that can", async () => {
  const schema = { type: "object", properties: { stars: { type: "integer" } }, required: ["stars"] };
  const response_format = { type: "json_schema", json_schema: { name: "rating", schema, strict: true } };
  await assert.rejects(chat.parse(asked(null, { response_format })), {
    constructor: OpenAI.BadRequestError,
    code: "unsupported_parameter",
    param: "response_format.json_schema",
  });
  const answer = await chat.parse(asked("Give it 3 stars", { model: "able", response_format }));
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), { stars: 3 });
});

test("errors are typed", async () => {
  const cases = [
    [OpenAI.BadRequestError, 400, asked(null, { temperature: 9 })],
    [OpenAI.NotFoundError, 404, asked(null, { model: "gpt-9" })],
    [OpenAI.InternalServerError, 503, asked("/fail", { model: "scripted" })],
    [OpenAI.RateLimitError, 429, asked("/busy, says Node", { model: "able" })],
  ];
  for (const [kind, status, body] of cases) {
    await assert.rejects(chat.create(body), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.equal(error.status, status);
      assert.ok(error.requestID);
      return true;
    });
  }
  await assert.rejects(chat.create(asked("word ".repeat(9000), { stream: true })), { code: "context_length_exceeded" });
});

test("an error in the middle of a stream is raised after what came", async () => {
  let text = "";
  await assert.rejects(async () => {
    for await (const chunk of await chat.create(asked("/fail after 2", { model: "scripted", stream: true }))) {
      text += chunk.choices[0].delta.content ?? "";
    }
  }, OpenAI.APIError);
  assert.equal(text, "word word");
});

test("a call is made again only where it helps", async () => {
  const tries = async (body) => {
    let count = 0;
    const counting = (...request) => (count++, fetch(...request));
    const patient = new OpenAI({ ...options, maxRetries: 1, fetch: counting });
    await patient.chat.completions.create(body).catch(() => {});
    return count;
  };
  assert.equal(await tries(asked("/busy, Node waits", { model: "able" })), 2);
  assert.equal(await tries(asked(null, { temperature: 9 })), 1);
});

test("a caller may leave, and may wait only so long", async () => {
  const stream = await chat.create(asked("/slow", { model: "scripted", stream: true }));
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break;
  }
  assert.ok(stream.controller.signal.aborted);
  const slow = asked("/slow", { model: "scripted" });
  await assert.rejects(chat.create(slow, { timeout: 300 }), OpenAI.APIConnectionTimeoutError);
  const leaving = new AbortController();
  const call = chat.create(slow, { signal: leaving.signal });
  leaving.abort();
  await assert.rejects(call, OpenAI.APIUserAbortError);
});

test("models are listed and looked up", async () => {
  const names = (await collected(client.models.list())).map((model) => model.id);
  assert.ok(names.includes("tiny-glm4") && names.includes("scripted"));
  assert.equal((await client.models.retrieve("tiny-glm4")).id, "tiny-glm4");
  await assert.rejects(client.models.retrieve("gpt-9"), OpenAI.NotFoundError);
});
