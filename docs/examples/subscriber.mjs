// Follows one lane and loses no verdict. Needs the npm package zeromq (6.x) and none of Lanepulse's code.
//
//   node subscriber.mjs --publish tcp://lane3:7501 --replay tcp://lane3:7502 --site calais --lane 3 \
//       --server-key lane3.pub --key mine.key --after last-number
//
// Prints one JSON object a line. --after names the file that holds the number of the last verdict dealt with.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Dealer, Subscriber } from "zeromq";

const names = ["publish", "replay", "site", "lane", "server-key", "key", "after"];
const { values: given } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
for (const name of names) {
  if (given[name] === undefined) {
    console.error(`subscriber.mjs: --${name} is missing`);
    process.exit(2);
  }
}

function key(file, which) {
  const found = new RegExp(`${which}-key = "(.{40})"`).exec(readFileSync(file, "utf8"));
  if (!found) throw new Error(`${file}: no ${which} key in it`);
  return found[1];
}

const options = {
  curvePublicKey: key(given.key, "public"),
  curveSecretKey: key(given.key, "secret"),
  curveServerKey: key(given["server-key"], "public"),
  heartbeatInterval: 1000, // without these two a client
  handshakeInterval: 3000, // may wait for ever on a cable that was pulled
  heartbeatTimeout: 3000,
  receiveHighWaterMark: 0, // heartbeats and a full queue do not go together in libzmq
  receiveTimeout: 5000, // the lane says something each second
  linger: 0,
};

const parsed = (frames) => frames.slice(1).map((frame) => JSON.parse(frame.toString()));

async function* replayed(first) {
  const socket = new Dealer(options);
  socket.connect(given.replay);
  try {
    for (;;) {
      await socket.send(JSON.stringify({ from: first, limit: 200 }));
      let header, body;
      while ((([header, body] = parsed(await socket.receive())), header.kind !== "end")) yield [header, body];
      if (body.error) throw new Error(`${given.replay}: ${body.error}`);
      if (body.complete) return;
      first = body.next;
    }
  } finally {
    socket.close();
  }
}

// Here is the place for what you do with a verdict; only then is its number kept.
function deal(header, verdict) {
  process.stdout.write(JSON.stringify({ sequence: header.sequence, kind: header.kind, verdict }) + "\n");
  writeFileSync(`${given.after}.new`, String(header.sequence));
  renameSync(`${given.after}.new`, given.after);
  return header.sequence;
}

let last = existsSync(given.after) ? Number(readFileSync(given.after, "utf8")) : null;
let older = 0;
const live = new Subscriber(options);
live.subscribe(`verdict.${given.site}.${given.lane}.`, `status.${given.site}.${given.lane}.`); // with the closing dot
live.connect(given.publish);
for (;;) {
  try {
    const [header, body] = parsed(await live.receive());
    const number = header.sequence;
    const isVerdict = header.kind !== "status";
    last ??= Math.max(number - 1, 0);
    if (number > last + (isVerdict ? 1 : 0)) {
      // verdicts may be missing, or only rows that are none: ask
      for await (const [pastHeader, pastBody] of replayed(last + 1)) last = deal(pastHeader, pastBody);
    } else if (isVerdict && number > last) {
      last = deal(header, body);
    }
    older = number < last ? older + 1 : 0;
    if (older === 10) console.error(`the lane's newest verdict is ${number}, ours ${last}: was its journal replaced?`);
  } catch (error) {
    if (error.code !== "EAGAIN") throw error;
    console.error(`silence from ${given.publish} or ${given.replay}: check lane and network`);
  }
}
