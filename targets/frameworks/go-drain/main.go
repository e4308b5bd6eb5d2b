// The same dispatcher, which tries again, keeps dead letters, and drains at SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	attempts = 4
	table    = `
create table if not exists notice (
	n bigserial, producer bigint, sequence bigint, payload text,
	at timestamptz default clock_timestamp()
)`
)

type event struct {
	Producer int64  `json:"producer"`
	Sequence int64  `json:"sequence"`
	Payload  string `json:"payload"`
}

var (
	jobs     = make(chan event, 1000)
	working  sync.WaitGroup
	database *pgxpool.Pool
	letters  *os.File
	lock     sync.Mutex
)

func work() {
	defer working.Done()
	for job := range jobs {
		if err := handle(job); err != nil {
			log.Print(err)
			bury(job)
		}
	}
}

// handle tries again after 1, 2 and 4 s.
func handle(job event) (err error) {
	for attempt := 0; attempt < attempts; attempt++ {
		if attempt > 0 {
			time.Sleep(time.Second << (attempt - 1))
		}
		time.Sleep(50 * time.Millisecond)
		_, err = database.Exec(context.Background(),
			"insert into notice (producer, sequence, payload) values ($1, $2, $3)",
			job.Producer, job.Sequence, job.Payload)
		if err == nil {
			return nil
		}
	}
	return err
}

func bury(job event) {
	line, _ := json.Marshal(job)
	lock.Lock()
	defer lock.Unlock()
	if _, err := fmt.Fprintf(letters, "%s\n", line); err != nil {
		log.Print(err)
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
	if letters, err = os.OpenFile(os.Args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		panic(err)
	}
	if database, err = pgxpool.New(context.Background(), os.Getenv("DATABASE_URL")); err != nil {
		panic(err)
	}
	if _, err = database.Exec(context.Background(), table); err != nil {
		panic(err)
	}
	for i := 0; i < 5; i++ {
		working.Add(1)
		go work()
	}
	http.HandleFunc("/events", take)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	http.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"queue_length": %d}`, len(jobs))
	})
	server := &http.Server{Addr: os.Getenv("HOST") + ":" + os.Getenv("PORT")}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		<-stop
		// Nobody hands over any more; then the workers empty the channel.
		if err := server.Shutdown(context.Background()); err != nil {
			log.Print(err)
		}
		close(jobs)
		working.Wait()
		close(done)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		panic(err)
	}
	<-done
}
