// Takes 50 ms for a job and inserts one row; 5 workers, each with 20 jobs one after another.
import { setTimeout } from "node:timers/promises";
import pg from "pg";
import PgBoss from "pg-boss";

const TABLE = `
create table if not exists notice (
  n bigserial, producer bigint, sequence bigint, payload text,
  at timestamptz default clock_timestamp()
)`;
const INSERT = "insert into notice (producer, sequence, payload) values ($1, $2, $3)";

const database = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 5 });
database.on("error", (error) => console.error(error.message));
await database.query(TABLE);

const boss = new PgBoss(process.env.DATABASE_URL);
boss.on("error", (error) => console.error(error.message));
await boss.start();
await boss.createQueue("notify");
for (let worker = 0; worker < 5; worker++) {
  await boss.work("notify", { batchSize: 20, pollingIntervalSeconds: 0.5 }, async (jobs) => {
    for (const { data } of jobs) {
      await setTimeout(50);
      await database.query(INSERT, [data.producer, data.sequence, data.payload]);
    }
  });
}
process.on("SIGTERM", () => boss.stop());
console.log("takes jobs");
