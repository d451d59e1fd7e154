package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// input is what was asked of one key.
type input struct {
	op    string
	value string // what a put stores
}

// output is what was answered.
type output struct {
	known    bool // false: the outcome is unknown
	found    bool // a get found a value
	value    string
	revision uint64
	deleted  bool
	servedBy string
}

// state is one key. The revision is that of the last change; 0 where the change's answer was lost and nobody has read it
// yet. least is a revision that the last change's is not below.
type state struct {
	present  bool
	value    string
	revision uint64
	least    uint64
}

// step does one operation on a key, if it fits.
func step(s state, in input, out output) (bool, state) {
	switch in.op {
	case "put":
		if !out.known {
			return true, state{present: true, value: in.value, least: s.least}
		}
		return out.revision > s.least, state{present: true, value: in.value, revision: out.revision, least: out.revision}
	case "delete":
		if !out.known {
			return true, state{least: s.least}
		}
		if !out.deleted {
			return !s.present && out.revision >= s.least, state{least: s.least}
		}
		return s.present && out.revision > s.least, state{revision: out.revision, least: out.revision}
	case "get":
		if !out.found {
			return !s.present, s
		}
		if !s.present || s.value != out.value || out.revision < s.least {
			return false, s
		}
		if s.revision != 0 {
			return s.revision == out.revision, s
		}
		return true, state{present: true, value: s.value, revision: out.revision, least: out.revision}
	}
	return false, s
}

// register is the model of one key.
var register = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(before, in, out any) (bool, any) { return step(before.(state), in.(input), out.(output)) },
	DescribeOperation: func(in, out any) string {
		asked, answered := in.(input), out.(output)
		if !answered.known {
			return fmt.Sprintf("%s(%s) by %s: unknown", asked.op, asked.value, answered.servedBy)
		}
		switch asked.op {
		case "put":
			return fmt.Sprintf("put(%s) by %s: %d", asked.value, answered.servedBy, answered.revision)
		case "delete":
			return fmt.Sprintf("delete() by %s: %t, %d", answered.servedBy, answered.deleted, answered.revision)
		}
		if !answered.found {
			return fmt.Sprintf("get() by %s: absent", answered.servedBy)
		}
		return fmt.Sprintf("get() by %s: %s at %d", answered.servedBy, answered.value, answered.revision)
	},
	DescribeState: func(s any) string {
		at := s.(state)
		if !at.present {
			return "absent"
		}
		return fmt.Sprintf("%s at %d", at.value, at.revision)
	},
}
