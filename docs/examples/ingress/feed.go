// An ingress program: appends each event to a file, as a call of a client library would.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	queue, err := os.OpenFile("events.jsonl", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var event struct{ ID string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		if _, err := fmt.Fprintf(queue, "%s\n", lines.Bytes()); err != nil {
			// The file may hold a part of it: nobody knows.
			fmt.Println("unknown", event.ID, err)
			continue
		}
		fmt.Println("ok", event.ID)
	}
}
