// Readers beside a writer, as bench/src/beside.rs has them.

package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

const (
	readsPerSnapshot = 1000
	besideEntries    = 100
	besideEvery      = 10 * time.Millisecond
	besideKeys       = 10_000
)

type written struct {
	commits uint64
	time    time.Duration
	err     error
}

type sum struct {
	check uint64
	err   error
}

func (w *worker) readsBesideWriter() (done, error) {
	var d done
	for _, readers := range []uint64{1, 2, 4, 8} {
		elapsed, check, wrote, err := w.beside(readers)
		if err != nil {
			return d, err
		}
		d.measures = append(d.measures, elapsed.as(fmt.Sprintf("reads-by-%d-beside-writer", readers)))
		if wrote.commits > 0 {
			mean := span{elapsed: wrote.time / time.Duration(wrote.commits)}
			d.measures = append(d.measures, mean.as(fmt.Sprintf("commit-beside-%d-readers", readers)))
		}
		d.commits += wrote.commits
		d.check += check
	}
	return d, nil
}

func (w *worker) beside(readers uint64) (span, uint64, written, error) {
	var stop atomic.Bool
	start := make(chan struct{})
	sums := make(chan sum)
	for reader := range readers {
		share := w.plan.reads*(reader+1)/readers - w.plan.reads*reader/readers
		go func() {
			<-start
			check, err := w.readShare(newStream(1<<40|readers<<8|reader), share)
			sums <- sum{check, err}
		}()
	}
	wrote := make(chan written)
	go func() {
		<-start
		wrote <- w.writeUntil(&stop)
	}()
	begun := time.Now()
	close(start)
	var check uint64
	var failure error
	for range readers {
		s := <-sums
		check += s.check
		if s.err != nil {
			failure = s.err
		}
	}
	elapsed := span{elapsed: time.Since(begun)}
	stop.Store(true)
	result := <-wrote
	if failure == nil {
		failure = result.err
	}
	if failure == nil {
		failure = w.restore()
	}
	return elapsed, check, result, failure
}

func (w *worker) readShare(s *stream, reads uint64) (uint64, error) {
	var check uint64
	for reads > 0 {
		now := min(reads, readsPerSnapshot)
		reads -= now
		err := w.read(func(bucket *bbolt.Bucket) error {
			for range now {
				found, err := readOne(bucket, s.below(w.plan.keys))
				if err != nil {
					return err
				}
				check += found
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return check, nil
}

func (w *worker) writeUntil(stop *atomic.Bool) written {
	var result written
	s := newStream(1 << 41)
	next := time.Now()
	for !stop.Load() {
		start := time.Now()
		version := result.commits + 1
		result.err = w.write(func(bucket *bbolt.Bucket) error {
			for range besideEntries {
				entry := s.below(min(w.plan.keys, besideKeys))
				if err := bucket.Put(key(entry), value(entry, version)); err != nil {
					return err
				}
			}
			return nil
		})
		if result.err != nil {
			return result
		}
		result.commits++
		result.time += time.Since(start)
		next = next.Add(besideEvery)
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
		} else {
			next = time.Now()
		}
	}
	return result
}

// restore makes what the writer changed what it was, however often it got to write.
func (w *worker) restore() error {
	return w.write(func(bucket *bbolt.Bucket) error {
		for entry := range min(w.plan.keys, besideKeys) {
			if err := bucket.Put(key(entry), value(entry, 0)); err != nil {
				return err
			}
		}
		return nil
	})
}
