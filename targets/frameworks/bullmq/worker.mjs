// Takes 50 ms for a job and inserts one row, 5 jobs at once.
import { setTimeout } from "node:timers/promises";
import { Worker } from "bullmq";
import pg from "pg";

const TABLE = `
create table if not exists notice (
  n bigserial, producer bigint, sequence bigint, payload text,
  at timestamptz default clock_timestamp()
)`;
const INSERT = "insert into notice (producer, sequence, payload) values ($1, $2, $3)";

const redis = new URL(process.env.REDIS_URL);
const connection = {
  host: redis.hostname,
  port: Number(redis.port),
  username: redis.username,
  password: redis.password,
};
const database = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 5 });
database.on("error", (error) => console.error(error.message));
await database.query(TABLE);

const worker = new Worker(
  "events",
  async ({ data }) => {
    await setTimeout(50);
    await database.query(INSERT, [data.producer, data.sequence, data.payload]);
  },
  { connection, concurrency: 5 },
);
worker.on("error", (error) => console.error(error.message));
await worker.waitUntilReady();
console.log("takes jobs");
