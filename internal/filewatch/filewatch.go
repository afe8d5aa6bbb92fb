// Package filewatch says that something happened to one of a few files: it was
// written, replaced, renamed, removed, or its owner, mode or folder changed.
//
// It is a hint and no proof. Events can be lost, and a file of the same content may
// stand there again by the time somebody looks. So whoever is told compares the file
// itself, and looks now and then without being told. It gives no guarantee about
// folders above the one that a file lies in.
//
// On Linux it is inotify(7). Elsewhere there are no events and New says so; looking
// now and then has to do.
package filewatch

import "errors"

// ErrNone says that this system has no events for us.
var ErrNone = errors.New("this system tells nothing of changed files")
