// The keys and values of a run: the same function as in bench/src/data.rs.

package main

import (
	"encoding/binary"
	"math/bits"
)

const (
	keyBytes   = 24
	valueBytes = 150
	versionAt  = 8
	seed       = 0x636f_6e75_7265_6462
	golden     = 0x9e37_79b9_7f4a_7c15
)

// stream is a stream of 64-bit numbers: SplitMix64.
type stream struct{ state uint64 }

func newStream(number uint64) *stream { return &stream{mixed(seed + number)} }

func (s *stream) next() uint64 {
	s.state += golden
	return mixed(s.state)
}

// below gives a number below end, every one (nearly) as likely as any other.
func (s *stream) below(end uint64) uint64 {
	high, _ := bits.Mul64(s.next(), end)
	return high
}

func (s *stream) fill(bytes []byte) {
	for len(bytes) >= 8 {
		binary.LittleEndian.PutUint64(bytes, s.next())
		bytes = bytes[8:]
	}
	if len(bytes) > 0 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], s.next())
		copy(bytes, word[:])
	}
}

func mixed(state uint64) uint64 {
	state = (state ^ (state >> 30)) * 0xbf58_476d_1ce4_e5b9
	state = (state ^ (state >> 27)) * 0x94d0_49bb_1331_11eb
	return state ^ (state >> 31)
}

// key is the key of an entry.
func key(entry uint64) []byte {
	bytes := make([]byte, keyBytes)
	s := stream{mixed(seed + 2*entry)}
	s.fill(bytes)
	return bytes
}

// value is the value of an entry in one of its versions; 0 is the one that is loaded.
func value(entry, version uint64) []byte {
	bytes := make([]byte, valueBytes)
	s := stream{mixed(seed + 2*entry + 1)}
	s.fill(bytes)
	place := bytes[versionAt : versionAt+8]
	binary.LittleEndian.PutUint64(place, binary.LittleEndian.Uint64(place)^version)
	return bytes
}

// head is the beginning of a value as a number: what reads are checked by.
func head(bytes []byte) uint64 {
	if len(bytes) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(bytes)
}

// headOf is what head says of an entry's value in every version.
func headOf(entry uint64) uint64 {
	s := stream{mixed(seed + 2*entry + 1)}
	return s.next()
}

// digest is a digest of entries in their order.
type digest struct{ state, entries uint64 }

func (d *digest) add(key, value []byte) {
	d.entries++
	d.bytes(key)
	d.bytes(value)
}

func (d *digest) bytes(bytes []byte) {
	for len(bytes) > 0 {
		var word [8]byte
		bytes = bytes[copy(word[:], bytes):]
		d.state = mixed(d.state^binary.LittleEndian.Uint64(word[:])) + golden
	}
}

// digestOf is the digest of the first entries, in the order of their numbers.
func digestOf(entries uint64) uint64 {
	var d digest
	for entry := range entries {
		d.add(key(entry), value(entry, entry))
	}
	return d.state
}
