// A web process that enqueues a task for each event, and a worker that does 5 at once.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
)

const table = `
create table if not exists notice (
	n bigserial, producer bigint, sequence bigint, payload text,
	at timestamptz default clock_timestamp()
)`

type event struct {
	Producer int64  `json:"producer"`
	Sequence int64  `json:"sequence"`
	Payload  string `json:"payload"`
}

func serve(redis asynq.RedisConnOpt) error {
	client := asynq.NewClient(redis)
	defer client.Close()
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var job event
		if err != nil || json.Unmarshal(body, &job) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		id := asynq.TaskID(fmt.Sprintf("%d-%d", job.Producer, job.Sequence))
		if _, err := client.Enqueue(asynq.NewTask("notify", body), id); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return http.ListenAndServe(os.Getenv("HOST")+":"+os.Getenv("PORT"), nil)
}

func work(redis asynq.RedisConnOpt) error {
	database, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	if _, err = database.Exec(context.Background(), table); err != nil {
		return err
	}
	server := asynq.NewServer(redis, asynq.Config{Concurrency: 5})
	handlers := asynq.NewServeMux()
	handlers.HandleFunc("notify", func(ctx context.Context, task *asynq.Task) error {
		var job event
		if err := json.Unmarshal(task.Payload(), &job); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		_, err := database.Exec(ctx,
			"insert into notice (producer, sequence, payload) values ($1, $2, $3)",
			job.Producer, job.Sequence, job.Payload)
		return err
	})
	return server.Run(handlers)
}

func main() {
	redis, err := asynq.ParseRedisURI(os.Getenv("REDIS_URL"))
	if err == nil && os.Args[1] == "web" {
		err = serve(redis)
	} else if err == nil {
		err = work(redis)
	}
	if err != nil {
		log.Fatal(err)
	}
}
