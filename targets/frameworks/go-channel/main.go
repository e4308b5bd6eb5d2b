// A dispatcher as many are: a channel of 1000, 5 workers, two seconds of sleep at SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

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

var (
	jobs     = make(chan event, 1000)
	database *pgxpool.Pool
)

func work() {
	for job := range jobs {
		time.Sleep(50 * time.Millisecond)
		_, err := database.Exec(context.Background(),
			"insert into notice (producer, sequence, payload) values ($1, $2, $3)",
			job.Producer, job.Sequence, job.Payload)
		if err != nil {
			log.Print(err)
		}
	}
}

func take(w http.ResponseWriter, r *http.Request) {
	var job event
	if err := json.NewDecoder(r.Body).Decode(&job); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	select {
	case jobs <- job:
		w.WriteHeader(http.StatusAccepted)
	case <-time.After(5 * time.Second):
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func main() {
	var err error
	if database, err = pgxpool.New(context.Background(), os.Getenv("DATABASE_URL")); err != nil {
		panic(err)
	}
	if _, err = database.Exec(context.Background(), table); err != nil {
		panic(err)
	}
	for i := 0; i < 5; i++ {
		go work()
	}
	http.HandleFunc("/events", take)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	http.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"queue_length": %d}`, len(jobs))
	})
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		time.Sleep(2 * time.Second)
		os.Exit(0)
	}()
	panic(http.ListenAndServe(os.Getenv("HOST")+":"+os.Getenv("PORT"), nil))
}
