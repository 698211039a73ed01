//go:build !linux

package uplink

import "syscall"

// userTimeout does nothing: other systems run the backend's side, where the
// write timeout and the keep-alive are enough.
func userTimeout(string, string, syscall.RawConn) error { return nil }
