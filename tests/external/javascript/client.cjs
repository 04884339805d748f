// The JavaScript SDK as an application uses it, driven from a test: commands come in as lines of
// JSON on standard input, everything that happens leaves as lines of JSON on standard output.
"use strict";

const readline = require("node:readline");
const { Centrifuge } = require("centrifuge");
const WebSocket = require("ws");

const say = (event, context) => console.log(JSON.stringify({ event, ...context }));

// Tells which commands leave in one frame.
class RecordedWebSocket extends WebSocket {
  send(data, ...rest) {
    const commands = String(data).split("\n").map((line) => JSON.parse(line));
    say("frame", { methods: commands.flatMap(Object.keys).filter((key) => key !== "id") });
    super.send(data, ...rest);
  }
}

const { url, ...options } = JSON.parse(process.argv[2]);
const client = new Centrifuge(url, {
  websocket: RecordedWebSocket,
  minReconnectDelay: 50,
  maxReconnectDelay: 200,
  ...options,
});
for (const event of ["connecting", "connected", "disconnected"]) {
  client.on(event, (context) => say(event, context));
}

// Channels that come with the connection's token.
client.on("subscribed", (context) => say("brought along", context));
client.on("publication", (context) => say("brought", context));

function subscribe(channel, tokens) {
  const getToken = async () => {
    say("token", { channel });
    return tokens.length > 1 ? tokens.shift() : tokens[0];
  };
  const subscription = client.newSubscription(channel, tokens ? { getToken } : {});
  for (const event of ["subscribed", "unsubscribed", "publication"]) {
    subscription.on(event, (context) => say(event, context));
  }
  subscription.on("error", ({ error }) => say("refused", { channel, code: error.code }));
  subscription.subscribe();
}

const commands = {
  connect: () => client.connect(),
  disconnect: () => client.disconnect(),
  subscribe: ({ channel, tokens }) => subscribe(channel, tokens),
  unsubscribe: ({ channel }) => client.getSubscription(channel).unsubscribe(),
  publish: ({ channel, data }) =>
    client.publish(channel, data).then(
      () => say("published", { channel }),
      (error) => say("failed", { channel, code: error.code }),
    ),
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { command, ...rest } = JSON.parse(line);
    commands[command](rest);
  })
  .on("close", () => process.exit(0));
