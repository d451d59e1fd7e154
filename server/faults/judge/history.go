package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

// record is one line of a history.
type record struct {
	Client   int     `json:"client"`
	Op       string  `json:"op"`
	Key      string  `json:"key"`
	Value    *string `json:"value"`
	Revision *uint64 `json:"revision"`
	Deleted  *bool   `json:"deleted"`
	CallNs   int64   `json:"call_ns"`
	ReturnNs int64   `json:"return_ns"`
	Outcome  string  `json:"outcome"`
	ServedBy string  `json:"served_by"`
}

// lineBytesMax is longer than any record: keys and values of histories are short.
const lineBytesMax = 1 << 20

// read gives the operations of each key. What certainly was not done is left out. What may have been done stays open to
// the end, under a client of its own, because its client went on meanwhile.
func read(path string) (map[string][]porcupine.Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	keys := map[string][]porcupine.Operation{}
	open := 1 << 20
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, lineBytesMax)
	for number := 1; lines.Scan(); number++ {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("line %d of %s is no record: %w", number, path, err)
		}
		if r.Outcome == "fail" || (r.Op == "get" && r.Outcome != "ok") {
			continue
		}
		client, end := r.Client, r.ReturnNs
		if r.Outcome == "unknown" {
			open++
			client, end = open, math.MaxInt64
		}
		keys[r.Key] = append(keys[r.Key], porcupine.Operation{
			ClientId: client,
			Input:    input{op: r.Op, value: text(r.Value)},
			Call:     r.CallNs,
			Output:   output{known: r.Outcome == "ok", found: r.Value != nil, value: text(r.Value), revision: number64(r.Revision), deleted: r.Deleted != nil && *r.Deleted, servedBy: r.ServedBy},
			Return:   end,
		})
	}
	return keys, lines.Err()
}

func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

func number64(value *uint64) uint64 {
	if value == nil {
		return 0
	}
	return *value
}
