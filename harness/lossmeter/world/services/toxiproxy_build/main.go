// Toxiproxy's own server, whose commands are taken from those alone who know the secret:
// its port can be reached by every user of the machine, and whoever gives it a command
// changes what is measured.
package main

import (
	"crypto/subtle"
	"flag"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// The environment of a process is no place for a secret where a file of its own can hold it;
// a container is given the variable.
const (
	secretVariable = "TOXIPROXY_SECRET"
	fileVariable   = "TOXIPROXY_SECRET_FILE"
)

// In each answer: how many commands were taken so far. What one of them changed and another one
// changed back shows in nothing else.
const commandsHeader = "Toxiproxy-Commands"

func main() {
	host := flag.String("host", "localhost", "where commands are taken")
	port := flag.String("port", "8474", "where commands are taken")
	flag.Parse()
	logger := zerolog.New(os.Stdout).Level(zerolog.WarnLevel).With().Timestamp().Logger()
	secret := os.Getenv(secretVariable)
	if path := os.Getenv(fileVariable); path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			logger.Fatal().Err(err).Msg(fileVariable + " cannot be read")
		}
		secret = strings.TrimSpace(string(content))
	}
	if secret == "" {
		logger.Fatal().Msg(secretVariable + " is empty: anybody could give commands")
	}

	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), logger)
	commands := &http.Server{
		Addr:         net.JoinHostPort(*host, *port),
		Handler:      knowing("Bearer "+secret, counting(server.Routes())),
		ReadTimeout:  15 * time.Second,
		WriteTimeout: 30 * time.Second,
		IdleTimeout:  60 * time.Second,
	}
	go func() {
		logger.Fatal().Err(commands.ListenAndServe()).Msg("commands are no longer taken")
	}()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
}

// counting numbers what may change something; what is only read changes nothing.
func counting(next http.Handler) http.Handler {
	var commands atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			commands.Add(1)
		}
		w.Header().Set(commandsHeader, strconv.FormatInt(commands.Load(), 10))
		next.ServeHTTP(w, r)
	})
}

// knowing passes on requests that show what is expected, and refuses all others.
func knowing(expected string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := r.Header.Get("Authorization")
		if subtle.ConstantTimeCompare([]byte(shown), []byte(expected)) != 1 {
			http.Error(w, "this server takes commands from the run alone that started it", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
