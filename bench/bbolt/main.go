// The workloads of bench/ on bbolt: a program of its own, because bbolt is Go. It is given the same arguments as the
// worker of the engines in Rust and reports the same lines of JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type measure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	CPU   float64 `json:"cpu_ms,omitempty"`
}

type beginEvent struct {
	Event    string `json:"event"`
	Workload string `json:"workload"`
}

type endEvent struct {
	Event    string    `json:"event"`
	Workload string    `json:"workload"`
	Measures []measure `json:"measures"`
	Commits  uint64    `json:"commits"`
	Check    uint64    `json:"check"`
}

type doneEvent struct {
	Event     string `json:"event"`
	Version   string `json:"version"`
	Entries   uint64 `json:"entries"`
	Digest    uint64 `json:"digest"`
	PeakBytes uint64 `json:"peak_bytes"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("say worker or generator")
	}
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	switch arguments[0] {
	case "generator":
		entries := flags.Uint64("entries", 0, "how many entries")
		if err := flags.Parse(arguments[1:]); err != nil {
			return err
		}
		fmt.Println(digestOf(*entries))
		return nil
	case "worker":
		var p plan
		dir := flags.String("dir", "", "a folder that is empty or not there")
		workloads := flags.String("workloads", "", "what to do, in this order")
		flags.Uint64Var(&p.keys, "keys", 0, "keys of the bulk load")
		flags.Uint64Var(&p.singles, "singles", 0, "durable commits of one key")
		flags.Uint64Var(&p.batches, "batches", 0, "durable commits of many keys")
		flags.Uint64Var(&p.batchKeys, "batch-keys", 0, "keys in each of them")
		flags.Uint64Var(&p.reads, "reads", 0, "random reads")
		flags.Uint64Var(&p.ranges, "ranges", 0, "random range reads")
		if err := flags.Parse(arguments[1:]); err != nil {
			return err
		}
		return work(*dir, p, strings.Split(*workloads, ","))
	}
	return fmt.Errorf("unknown task %q", arguments[0])
}

// report writes a line in one call, so that a trace shows it whole.
func report(event any) error {
	line, err := json.Marshal(event)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

// version is the version of bbolt that is compiled in.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "go.etcd.io/bbolt" {
				return strings.TrimPrefix(module.Version, "v") + " (" + info.GoVersion + ")"
			}
		}
	}
	return "unknown"
}

// peakBytes is the most memory that this process had at once, mapped files included.
func peakBytes() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}

// cpuTime is the processor time that all threads of this process have used.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}
