// Peer is what the benchmarks of the whole process are measured beside: a Go
// program that does nothing, and with "serve" one that is an idle HTTP server.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		fmt.Println("ready")
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	panic(http.Serve(l, nil))
}
