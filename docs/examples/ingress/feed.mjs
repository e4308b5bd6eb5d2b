// An ingress program: appends each event to a file, as a call of a client library would.
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const event = JSON.parse(line);
  try {
    appendFileSync("events.jsonl", line + "\n");
    console.log(`ok ${event.id}`);
  } catch (error) {
    // The file may hold a part of it: nobody knows.
    console.log(`unknown ${event.id} ${error.code}`);
  }
}
