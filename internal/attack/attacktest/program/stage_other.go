//go:build !linux

package main

import "errors"

func stage() error { return errors.New("it needs Linux") }
