package service

import (
	"bytes"
	"embed"
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"
	"time"
)

// Name is that of the service, of its system user and of that user's group.
const Name = "nanoclaw"

// Label is the name of the service on macOS.
const Label = "nanoclaw"

// Watchdog is how long a daemon may be silent before systemd ends it.
const Watchdog = time.Minute

// Manager is a program that keeps services running.
type Manager string

// The managers.
const (
	Systemd Manager = "systemd"
	Launchd Manager = "launchd"
)

// Unit is everything that the text of a service is made of.
type Unit struct {
	Manager Manager
	// System says that it belongs to the machine and not to a user.
	System bool
	// User is whom a service of the machine runs as: Name, or "root".
	User string
	// Program is nanoclaw's path, Home is NANOCLAW_HOME ("" if it is not used).
	Program, Home string
	// Writable are the folders of the installation.
	Writable []string
	// OwnRuntime says that the manager makes the folder of the socket.
	OwnRuntime bool
	// Log is the file of what it says, for managers that have no log of their own.
	Log string
	// Made is what Install made beside the unit, to be undone with it.
	Made Made
}

// Made is what was not there before.
type Made struct {
	User, Linger bool
}

//go:embed nanoclaw.service nanoclaw.plist
var files embed.FS

// Text is the unit as its manager reads it.
func (u Unit) Text() (string, error) {
	name := "nanoclaw.service"
	if u.Manager == Launchd {
		name = "nanoclaw.plist"
	}
	for _, s := range append([]string{u.Program, u.Home, u.Log}, u.Writable...) {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("the path %q holds a control character, which no unit can name", s)
		}
	}
	if u.Manager == Systemd && strings.ContainsAny(u.Program, `"'\`) {
		return "", fmt.Errorf("systemd starts no program with quotes or backslashes in its path: %s\nfix: put nanoclaw into another folder", u.Program)
	}
	t, err := template.New(name).Funcs(template.FuncMap{
		"quote": quoted, "xml": xmlText, "join": strings.Join,
	}).ParseFS(files, name)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, u)
	return b.String(), err
}

// WatchdogSec is Watchdog as systemd writes it.
func (u Unit) WatchdogSec() int { return int(Watchdog.Seconds()) }

// The capabilities of a daemon, as boundary.LowerPrivileges keeps them, and those
// that stay in root's bounding set for a container engine. A test holds both
// together.
var (
	capabilities = []string{"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_READ_SEARCH"}
	forEngines   = []string{"CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETPCAP", "CAP_NET_ADMIN",
		"CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_RESOURCE", "CAP_MKNOD", "CAP_SETFCAP"}
)

// Capabilities are those that the service begins with.
func (u Unit) Capabilities() []string { return capabilities }

// Bounding are those that it and what it starts can ever have.
func (u Unit) Bounding() []string {
	if u.AsRoot() {
		return append(capabilities[:len(capabilities):len(capabilities)], forEngines...)
	}
	return capabilities
}

// AsRoot says that a service of the machine keeps root's uid.
func (u Unit) AsRoot() bool { return u.System && u.User == "root" }

// quoted is a value in quotes as systemd.syntax(7) reads it, with its specifiers
// (systemd.unit(5)) taken literally.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(s) + `"`
}

func xmlText(s string) (string, error) {
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

// The beginning of each text of ours, and of its record.
const (
	mark       = "Made by nanoclaw service install."
	recordWord = "It made:"
)

// Record is the line that says what was made.
func (u Unit) Record() string {
	var made []string
	if u.Made.User {
		made = append(made, "user")
	}
	if u.Made.Linger {
		made = append(made, "linger")
	}
	return strings.TrimSpace(recordWord + " " + strings.Join(made, " "))
}

// ours says whether a text is a unit that Install wrote, and what it recorded.
func ours(text string) (Made, bool) {
	if !strings.Contains(text, mark) {
		return Made{}, false
	}
	var m Made
	for line := range strings.Lines(text) {
		_, words, ok := strings.Cut(line, recordWord)
		if !ok {
			continue
		}
		for _, w := range strings.Fields(words) {
			m.User = m.User || w == "user"
			m.Linger = m.Linger || w == "linger"
		}
		break
	}
	return m, true
}
