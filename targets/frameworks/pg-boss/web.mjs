// Takes an event over HTTP and sends a job for it.
import http from "node:http";
import PgBoss from "pg-boss";

const boss = new PgBoss(process.env.DATABASE_URL);
boss.on("error", (error) => console.error(error.message));
await boss.start();
await boss.createQueue("notify");

http
  .createServer(async (request, response) => {
    if (request.method === "GET") {
      response.end();
      return;
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    try {
      await boss.send("notify", JSON.parse(Buffer.concat(chunks)));
      response.writeHead(202).end();
    } catch {
      response.writeHead(500).end();
    }
  })
  .listen(Number(process.env.PORT), process.env.HOST);
