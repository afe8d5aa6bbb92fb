//go:build linux

// Command lowered plays a root daemon for a test of package boundary: it lowers
// its privileges, starts a session for a group that works in the owner's folder,
// and ends it. It is a program of its own because the test binary may be linked
// with cgo, where a process cannot lower the privileges of all its threads.
//
// Usage: lowered ENGINE INIT WORKSPACE OWNED UID. It prints what was kept, a line
// "--", the output of the session and "closed".
//
// As "lowered again" it only lowers them twice, as a command does that waits for a
// store which another process holds.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"nanoclaw/internal/boundary"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "again" {
		for range 2 {
			if _, err := boundary.LowerPrivileges(true); err != nil {
				fmt.Fprintln(os.Stderr, "lowered:", err)
				os.Exit(1)
			}
		}
		return
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, "lowered:", err)
		os.Exit(1)
	}
}

func run(engine, initPath, workspace, owned, uid string) error {
	kept, err := boundary.LowerPrivileges(false)
	if err != nil {
		return err
	}
	for _, line := range kept {
		fmt.Println(line)
	}
	fmt.Println("--")
	group, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	program, err := os.Open(initPath)
	if err != nil {
		return err
	}
	defer program.Close()
	e, err := boundary.New(engine, boundary.Options{Init: program})
	if err != nil {
		return err
	}
	g := grant.Grant{Mounts: []grant.Mount{
		{Target: "/usr", Source: "/usr", Exec: true},
		{Target: grant.Workspace, Source: workspace, Write: true},
		{Target: grant.Extra + "/owned", Source: owned, Write: true, Foreign: true},
	}}
	for _, d := range []string{"/bin", "/lib", "/lib64"} {
		g.Mounts = append(g.Mounts, grant.Mount{Target: d, Source: d, Exec: true, Optional: true})
	}
	s, err := e.Start(context.Background(), boundary.Spec{Grant: g, UID: group})
	if err != nil {
		return err
	}
	p, err := s.Exec(context.Background(), wire.Exec{
		Argv: []string{"/bin/sh", "-c", "id -u; echo x > made && echo x > ../extra/owned/made && echo written; sleep 1000 &"},
		Env:  []string{"PATH=/usr/bin"}, Dir: grant.Workspace,
	})
	if err != nil {
		return err
	}
	out := make([]byte, len("1000\nwritten\n"))
	if _, err := io.ReadFull(p.Stdout, out); err != nil {
		return err
	}
	os.Stdout.Write(out)
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Println("closed")
	return threads()
}

// threads prints the capabilities of every thread.
func threads() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + t.Name() + "/status")
		if err != nil {
			return err
		}
		os.Stdout.Write(status)
	}
	return nil
}
