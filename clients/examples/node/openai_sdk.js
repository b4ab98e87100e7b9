// OpenAI's package against glmserve: an answer, a stream, and a function that the model calls.
//
//   node openai_sdk.js http://127.0.0.1:8080/v1

import OpenAI from "openai";

const baseURL = process.argv[2] ?? process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8080/v1";
const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? "none" });
const model = "tiny-glm4";

// Stands for a real weather service.
function getWeather({ city }) {
  console.log(`get_weather ${city}`);
  return { temperature: 21, condition: "sunny" };
}

async function chat() {
  const messages = [
    { role: "system", content: "You are Bob." },
    { role: "user", content: "What is your name?" },
  ];
  const answer = await client.chat.completions.create({ model, messages, temperature: 0 });
  console.log(answer.choices[0].message.content);
}

async function stream() {
  const messages = [{ role: "user", content: "What is the capital of Japan?" }];
  for await (const chunk of await client.chat.completions.create({ model, messages, temperature: 0, stream: true })) {
    process.stdout.write(chunk.choices[0]?.delta.content ?? "");
  }
  console.log();
}

async function tools() {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const weather = { name: "get_weather", description: "The weather in a city", parameters };
  const runner = client.chat.completions.runTools({
    model,
    messages: [{ role: "user", content: "What is the weather in Paris?" }],
    temperature: 0,
    tools: [{ type: "function", function: { ...weather, function: getWeather, parse: JSON.parse } }],
  });
  console.log(await runner.finalContent());
}

await chat();
await stream();
await tools();
