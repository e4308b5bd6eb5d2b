// Takes an event over HTTP and adds a job for it.
import http from "node:http";
import { Queue } from "bullmq";

const redis = new URL(process.env.REDIS_URL);
const connection = {
  host: redis.hostname,
  port: Number(redis.port),
  username: redis.username,
  password: redis.password,
};
const queue = new Queue("events", { connection });

http
  .createServer(async (request, response) => {
    if (request.method === "GET") {
      response.end();
      return;
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    try {
      const event = JSON.parse(Buffer.concat(chunks));
      await queue.add("notify", event, { jobId: `${event.producer}-${event.sequence}` });
      response.writeHead(202).end();
    } catch {
      response.writeHead(500).end();
    }
  })
  .listen(Number(process.env.PORT), process.env.HOST);
