// gRPC without generated code: the contract is read from proto/ when the program starts.
//
//   node grpc.js 127.0.0.1:50051

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const proto = join(dirname(fileURLToPath(import.meta.url)), "../../../proto");
const definition = protoLoader.loadSync("glmserve/v1/chat.proto", {
  includeDirs: [proto],
  keepCase: true, // names as in the contract: tool_calls, not toolCalls
  enums: String,
  longs: String,
  oneofs: true, // event.event says which kind of event it is
});
const { ChatService } = grpc.loadPackageDefinition(definition).glmserve.v1;

const address = process.argv[2] ?? process.env.GLMSERVE_GRPC ?? "127.0.0.1:50051";
const service = new ChatService(address, grpc.credentials.createInsecure());
const deadline = () => ({ deadline: Date.now() + 60_000 });
const asking = (text) => ({ model: "tiny-glm4", messages: [{ role: "ROLE_USER", content: [{ text }] }], temperature: 0 });

function create(request) {
  return new Promise((resolve, reject) => {
    service.CreateChatCompletion(request, deadline(), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// Stands for a real weather service.
const getWeather = (city) => JSON.stringify({ city, temperature: 21, condition: "sunny" });

async function chat() {
  const answer = await create(asking("What is the capital of France?"));
  console.log(answer.choices[0].message.content.map((part) => part.text).join(""));
}

async function stream() {
  for await (const event of service.StreamChatCompletion(asking("What is the capital of Japan?"), deadline())) {
    if (event.event === "text") process.stdout.write(event.text.text);
  }
  console.log();
}

async function tools() {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const weather = { name: "get_weather", description: "The weather in a city", parameters_json: JSON.stringify(parameters) };
  const request = { ...asking("What is the weather in Paris?"), tools: [{ function: weather }] };
  const { message } = (await create(request)).choices[0];
  request.messages.push(message);
  for (const call of message.tool_calls) {
    console.log(`${call.name} ${call.arguments_json}`);
    const text = getWeather(JSON.parse(call.arguments_json).city);
    request.messages.push({ role: "ROLE_TOOL", tool_call_id: call.id, content: [{ text }] });
  }
  const told = await create(request);
  console.log(told.choices[0].message.content.map((part) => part.text).join(""));
}

await chat();
await stream();
await tools();
service.close();
