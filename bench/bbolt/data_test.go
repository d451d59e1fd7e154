package main

import (
	"encoding/hex"
	"testing"
)

// bench/src/data.rs holds the same bytes.
func TestTheGeneratorMakesTheBytesThatAreWrittenDown(t *testing.T) {
	for _, made := range []struct {
		name  string
		bytes []byte
		hex   string
	}{
		{"key 0", key(0), "f772c36c83ea332f8a2a16850bf3a0e2ffe6090a6d8b01cf"},
		{"key 1000000", key(1_000_000), "0362966c50d4456849fd41e2d1e2e2744fc753f5a3f90753"},
		{"value 0", value(0, 0)[:24], "89d47f2d583bf740dde9eff877d96dac6a85ad448676e92c"},
		{"value 7", value(7, 0x0102_0304)[:24], "9aac346a68b2a8a92b4d5a705ef551a4644d29bb773471d6"},
		{"end of value 7", value(7, 0)[144:], "9ea4ad25c0cf"},
	} {
		if found := hex.EncodeToString(made.bytes); found != made.hex {
			t.Errorf("%s is %s, not %s", made.name, found, made.hex)
		}
	}
	if found := digestOf(1000); found != 6353229950387404788 {
		t.Errorf("the digest is %d", found)
	}
	for _, entry := range []uint64{0, 3, 12} {
		if head(value(entry, 77)) != headOf(entry) {
			t.Errorf("the head of entry %d is another one", entry)
		}
	}
}
