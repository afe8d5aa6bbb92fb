package agenttest

import "runtime"

// platformPackage is the npm package that holds the program for this machine.
func platformPackage() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return "claude-code-" + runtime.GOOS + "-" + arch
}
