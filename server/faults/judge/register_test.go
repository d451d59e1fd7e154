package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// judged writes a history and says what the judge finds.
func judged(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, operations := range keys {
		if !check(operations, time.Minute) {
			return "illegal"
		}
	}
	return "ok"
}

const put1 = `{"client":1,"op":"put","key":"k","value":"a","revision":5,"call_ns":0,"return_ns":10,"outcome":"ok","served_by":"m1"}` + "\n"

func TestVerdicts(t *testing.T) {
	get := func(found string) string {
		return put1 + `{"client":2,"op":"get","key":"k",` + found + `,"call_ns":20,"return_ns":30,"outcome":"ok","served_by":"m2"}` + "\n"
	}
	unknown := `{"client":3,"op":"delete","key":"k","call_ns":12,"return_ns":14,"outcome":"unknown","served_by":"m1"}` + "\n"
	later := `{"client":2,"op":"get","key":"k","value":"a","revision":5,"call_ns":40,"return_ns":50,"outcome":"ok","served_by":"m2"}` + "\n"
	for name, c := range map[string]struct{ lines, want string }{
		"what was written is read":                   {get(`"value":"a","revision":5`), "ok"},
		"an acknowledged write is missing":           {get(`"value":null`), "illegal"},
		"another revision of the same value":         {get(`"value":"a","revision":6`), "illegal"},
		"a value that nobody wrote":                  {get(`"value":"b","revision":6`), "illegal"},
		"an unknown delete may have been done":       {unknown + get(`"value":null`), "ok"},
		"an unknown delete may come later":           {unknown + get(`"value":"a","revision":5`), "ok"},
		"but is not undone":                          {unknown + get(`"value":null`) + later, "illegal"},
		"a revision that goes back":                  {put1 + `{"client":1,"op":"put","key":"k","value":"b","revision":4,"call_ns":20,"return_ns":30,"outcome":"ok","served_by":"m1"}` + "\n", "illegal"},
		"a delete that found nothing where there is": {put1 + `{"client":1,"op":"delete","key":"k","deleted":false,"revision":5,"call_ns":20,"return_ns":30,"outcome":"ok","served_by":"m1"}` + "\n", "illegal"},
		"a failed write is no write":                 {`{"client":1,"op":"put","key":"k","value":"z","call_ns":0,"return_ns":1,"outcome":"fail","served_by":"m1"}` + "\n" + get(`"value":"a","revision":5`), "ok"},
	} {
		if got := judged(t, c.lines); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}
