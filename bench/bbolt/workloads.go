// The workloads, as bench/src/worker.rs has them.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

const (
	rangeEntries = 10
	opens        = 5
)

var bucketName = []byte("bench")

// plan says how much is done.
type plan struct{ keys, singles, batches, batchKeys, reads, ranges uint64 }

// worker has a database open, with bbolt's default options: every commit is synced, and so is the list of free pages.
type worker struct {
	db    *bbolt.DB
	dir   string
	plan  plan
	added uint64
}

type done struct {
	measures []measure
	commits  uint64
	check    uint64
}

func work(dir string, p plan, workloads []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	w := &worker{dir: dir, plan: p}
	if err := w.open(); err != nil {
		return err
	}
	for _, name := range workloads {
		if err := report(beginEvent{"begin", name}); err != nil {
			return err
		}
		d, err := w.work(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := report(endEvent{"end", name, d.measures, d.commits, d.check}); err != nil {
			return err
		}
	}
	// Before the scan below touches all of the map.
	peak, err := peakBytes()
	if err != nil {
		return err
	}
	var d digest
	err = w.read(func(bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(key, value []byte) error {
			d.add(key, value)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := w.db.Close(); err != nil {
		return err
	}
	return report(doneEvent{"done", version(), d.entries, d.state, peak})
}

func (w *worker) path() string { return filepath.Join(w.dir, "bbolt.db") }

func (w *worker) open() error {
	db, err := bbolt.Open(w.path(), 0o644, nil)
	if err != nil {
		return err
	}
	w.db = db
	there := false
	if err := db.View(func(txn *bbolt.Tx) error {
		there = txn.Bucket(bucketName) != nil
		return nil
	}); err != nil || there {
		return err
	}
	return db.Update(func(txn *bbolt.Tx) error {
		_, err := txn.CreateBucket(bucketName)
		return err
	})
}

func (w *worker) write(work func(*bbolt.Bucket) error) error {
	return w.db.Update(func(txn *bbolt.Tx) error { return work(txn.Bucket(bucketName)) })
}

func (w *worker) read(work func(*bbolt.Bucket) error) error {
	return w.db.View(func(txn *bbolt.Tx) error { return work(txn.Bucket(bucketName)) })
}

func (w *worker) work(name string) (done, error) {
	switch name {
	case "bulk-load":
		elapsed, err := timed(func() error { return w.load(bbolt.DefaultFillPercent) })
		return w.withSizes(done{measures: []measure{elapsed.as(name)}, commits: 1}, "loaded", err)
	case "single-commits":
		return w.commits(name, w.plan.singles, 1)
	case "batches":
		return w.commits(name, w.plan.batches, w.plan.batchKeys)
	case "random-reads":
		return w.randomReads(name)
	case "range-reads":
		return w.rangeReads(name)
	case "reads-beside-writer":
		return w.readsBesideWriter()
	case "removal":
		elapsed, err := timed(w.remove)
		return w.withSizes(done{measures: []measure{elapsed.as(name)}, commits: 1}, "before-compaction", err)
	case "compaction":
		elapsed, err := timed(w.compact)
		return w.withSizes(done{measures: []measure{elapsed.as(name)}}, "after-compaction", err)
	case "open":
		return w.opens(name)
	case "sorted-load":
		elapsed, err := timed(func() error { return w.load(1) })
		return done{measures: []measure{elapsed.as(name)}, commits: 1}, err
	}
	return done{}, fmt.Errorf("unknown workload")
}

func (w *worker) put(from, to uint64) error {
	return w.write(func(bucket *bbolt.Bucket) error {
		for entry := from; entry < to; entry++ {
			if err := bucket.Put(key(entry), value(entry, 0)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *worker) commits(name string, commits, keys uint64) (done, error) {
	first := w.plan.keys + w.added
	w.added += commits * keys
	elapsed, err := timed(func() error {
		for commit := range commits {
			if err := w.put(first+commit*keys, first+(commit+1)*keys); err != nil {
				return err
			}
		}
		return nil
	})
	return done{measures: []measure{elapsed.as(name)}, commits: commits}, err
}

// readOne reads an entry that is there and checks it.
func readOne(bucket *bbolt.Bucket, entry uint64) (uint64, error) {
	found := head(bucket.Get(key(entry)))
	if found != headOf(entry) {
		return 0, fmt.Errorf("entry %d is not there or has another value", entry)
	}
	return found, nil
}

func (w *worker) randomReads(name string) (done, error) {
	var check uint64
	elapsed, err := timed(func() error {
		return w.read(func(bucket *bbolt.Bucket) error {
			s := newStream(1 << 42)
			for range w.plan.reads {
				found, err := readOne(bucket, s.below(w.plan.keys))
				if err != nil {
					return err
				}
				check += found
			}
			return nil
		})
	})
	return done{measures: []measure{elapsed.as(name)}, check: check}, err
}

func (w *worker) rangeReads(name string) (done, error) {
	var check uint64
	elapsed, err := timed(func() error {
		return w.read(func(bucket *bbolt.Bucket) error {
			s := newStream(1 << 43)
			for range w.plan.ranges {
				cursor := bucket.Cursor()
				k, v := cursor.Seek(key(s.below(w.plan.keys)))
				if k == nil {
					return fmt.Errorf("a range from a key that is there is empty")
				}
				for seen := 0; k != nil; k, v = cursor.Next() {
					check += head(k) + head(v)
					if seen++; seen == rangeEntries {
						break
					}
				}
			}
			return nil
		})
	})
	return done{measures: []measure{elapsed.as(name)}, check: check}, err
}

func (w *worker) remove() error {
	return w.write(func(bucket *bbolt.Bucket) error {
		for entry := range w.plan.keys / 2 {
			if err := bucket.Delete(key(entry)); err != nil {
				return err
			}
		}
		return nil
	})
}

// compact writes a compacted copy, in transactions of the size that `bbolt compact` uses, and puts it in the place of
// the file.
func (w *worker) compact() error {
	copied := filepath.Join(w.dir, "copy.db")
	copyDB, err := bbolt.Open(copied, 0o644, nil)
	if err != nil {
		return err
	}
	if err := bbolt.Compact(copyDB, w.db, 65536); err != nil {
		return err
	}
	if err := copyDB.Close(); err != nil {
		return err
	}
	if err := w.db.Close(); err != nil {
		return err
	}
	if err := os.Rename(copied, w.path()); err != nil {
		return err
	}
	folder, err := os.Open(w.dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return err
	}
	return w.open()
}

func (w *worker) opens(name string) (done, error) {
	var times []time.Duration
	for range opens {
		if err := w.db.Close(); err != nil {
			return done{}, err
		}
		start := time.Now()
		if err := w.open(); err != nil {
			return done{}, err
		}
		err := w.read(func(bucket *bbolt.Bucket) error {
			_, err := readOne(bucket, w.plan.keys-1)
			return err
		})
		if err != nil {
			return done{}, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return done{measures: []measure{span{elapsed: times[opens/2]}.as(name)}}, nil
}

// load puts all entries in one commit, sorted first: in random order that takes time that grows with the square of their
// number, because bbolt splits a page only at the commit (its documentation advises against it). For the sorted load pages
// are filled to the brim, which is bbolt's way where nothing comes between later.
func (w *worker) load(fillPercent float64) error {
	type entry struct{ key, value []byte }
	entries := make([]entry, w.plan.keys)
	for at := range entries {
		entries[at] = entry{key(uint64(at)), value(uint64(at), 0)}
	}
	sort.Slice(entries, func(one, other int) bool {
		return string(entries[one].key) < string(entries[other].key)
	})
	return w.write(func(bucket *bbolt.Bucket) error {
		bucket.FillPercent = fillPercent
		for _, entry := range entries {
			if err := bucket.Put(entry.key, entry.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// span is a time, and the processor time of all threads meanwhile where that is known.
type span struct{ elapsed, cpu time.Duration }

func (s span) as(name string) measure {
	return measure{name, "ms", float64(s.elapsed.Nanoseconds()) / 1e6, float64(s.cpu.Nanoseconds()) / 1e6}
}

func timed(work func() error) (span, error) {
	before, err := cpuTime()
	if err != nil {
		return span{}, err
	}
	start := time.Now()
	err = work()
	elapsed := time.Since(start)
	after, failure := cpuTime()
	if err == nil {
		err = failure
	}
	return span{elapsed, after - before}, err
}

// withSizes adds the length of all files, and the space that they take on the disk.
func (w *worker) withSizes(d done, when string, err error) (done, error) {
	if err != nil {
		return d, err
	}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return d, err
	}
	var length, disk int64
	for _, entry := range entries {
		var stat syscall.Stat_t
		if err := syscall.Stat(filepath.Join(w.dir, entry.Name()), &stat); err != nil {
			return d, err
		}
		length += stat.Size
		disk += stat.Blocks * 512
	}
	d.measures = append(d.measures,
		measure{Name: "file-size-" + when, Unit: "MiB", Value: float64(length) / (1 << 20)},
		measure{Name: "disk-space-" + when, Unit: "MiB", Value: float64(disk) / (1 << 20)})
	return d, nil
}
