// A web process that inserts a job for each event, and a worker that does 5 at once.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
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

func (event) Kind() string { return "notify" }

type worker struct {
	river.WorkerDefaults[event]
	database *pgxpool.Pool
}

func (w *worker) Work(ctx context.Context, job *river.Job[event]) error {
	time.Sleep(50 * time.Millisecond)
	_, err := w.database.Exec(ctx,
		"insert into notice (producer, sequence, payload) values ($1, $2, $3)",
		job.Args.Producer, job.Args.Sequence, job.Args.Payload)
	return err
}

func serve(database *pgxpool.Pool) error {
	client, err := river.NewClient(riverpgxv5.New(database), &river.Config{})
	if err != nil {
		return err
	}
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		var job event
		if json.NewDecoder(r.Body).Decode(&job) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, err := client.Insert(r.Context(), job, nil); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return http.ListenAndServe(os.Getenv("HOST")+":"+os.Getenv("PORT"), nil)
}

func work(ctx context.Context, database *pgxpool.Pool) error {
	if _, err := database.Exec(ctx, table); err != nil {
		return err
	}
	migrator, err := rivermigrate.New[pgx.Tx](riverpgxv5.New(database), nil)
	if err != nil {
		return err
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{database: database})
	client, err := river.NewClient(riverpgxv5.New(database), &river.Config{
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 5}},
		Workers: workers,
	})
	if err != nil {
		return err
	}
	if err = client.Start(ctx); err != nil {
		return err
	}
	log.Print("takes jobs")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	return client.Stop(ctx)
}

func main() {
	ctx := context.Background()
	database, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err == nil && os.Args[1] == "web" {
		err = serve(database)
	} else if err == nil {
		err = work(ctx, database)
	}
	if err != nil {
		log.Fatal(err)
	}
}
