package control

import "errors"

// Code says what kind of failure an Error is. The command line makes its exit
// code from it.
type Code string

// The codes.
const (
	CodeFailed        Code = "failed"
	CodeUsage         Code = "usage"          // the request cannot be right
	CodeRefused       Code = "refused"        // the policy says no
	CodeNotFound      Code = "not_found"      // no such group, run or entry
	CodeBoundary      Code = "boundary"       // the boundary could not be built
	CodeNoCommand     Code = "no_command"     // inside, there is no such command
	CodeNotExecutable Code = "not_executable" // inside, it cannot be run
	CodeStopping      Code = "stopping"       // the daemon is going down
)

// Error is a failure in words fit for the owner: what failed, and what to do.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Error gives the message without the hint.
func (e *Error) Error() string { return e.Message }

// ErrRunning says that another process holds this store. A command that meets
// it looks for that process's socket.
var ErrRunning = errors.New("another nanoclaw runs here")

// asError makes any error one that can be sent.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeFailed, Message: err.Error()}
}
