// judge says whether a history is linearizable: every key is a register with a revision, judged on its own by porcupine.
//
// It reads lines of JSON (what conure_e2e::history writes) and prints one line of JSON. A history that is not linearizable
// is drawn into a page where that is asked for. Exit code 0: judged, whatever the verdict.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// verdict is the answer.
type verdict struct {
	Result     string   `json:"result"` // ok, illegal or unknown (out of time)
	Keys       int      `json:"keys"`
	Operations int      `json:"operations"`
	Illegal    []string `json:"illegal"` // the keys whose operations no order explains
	Unjudged   []string `json:"unjudged"`
}

func main() {
	page := flag.String("page", "", "draw the first key that is not linearizable into this HTML file")
	limit := flag.Duration("limit", 5*time.Minute, "how long the judging of all keys may take")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: judge [--page FILE] [--limit DURATION] HISTORY")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *page, *limit); err != nil {
		fmt.Fprintf(os.Stderr, "judge: %v\n", err)
		os.Exit(1)
	}
}

// check judges one key.
func check(operations []porcupine.Operation, limit time.Duration) bool {
	return porcupine.CheckOperationsTimeout(register, operations, limit) == porcupine.Ok
}

func run(history, page string, limit time.Duration) error {
	keys, err := read(history)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	sort.Strings(names)
	said := verdict{Result: "ok", Keys: len(keys), Illegal: []string{}, Unjudged: []string{}}
	deadline := time.Now().Add(limit)
	for _, name := range names {
		operations := keys[name]
		said.Operations += len(operations)
		left := max(time.Until(deadline), time.Millisecond)
		result, info := porcupine.CheckOperationsVerbose(register, operations, left)
		switch result {
		case porcupine.Illegal:
			if len(said.Illegal) == 0 && page != "" {
				if err := porcupine.VisualizePath(register, info, page); err != nil {
					return err
				}
			}
			said.Illegal = append(said.Illegal, name)
		case porcupine.Unknown:
			said.Unjudged = append(said.Unjudged, name)
		}
	}
	switch {
	case len(said.Illegal) > 0:
		said.Result = "illegal"
	case len(said.Unjudged) > 0:
		said.Result = "unknown"
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}
