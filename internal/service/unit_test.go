package service

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is a real one in a place that takes every kind of quoting to name.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), `na $HOME 100%s`, "nanoclaw")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// The units are shown to systemd itself, which knows every directive and finds the
// program by the name that it reads.
func TestSystemdAcceptsTheUnits(t *testing.T) {
	path := program(t)
	odd := filepath.Join(filepath.Dir(path), `so "called" home\`)
	machine := Unit{Manager: Systemd, System: true, User: "root", Program: path, Writable: []string{"/etc/nanoclaw", odd}, OwnRuntime: true}
	asUser := machine
	asUser.User = Name
	for _, tt := range []struct {
		name string
		unit Unit
	}{
		{"of the machine, as root", machine},
		{"of the machine, as a system user", asUser},
		{"of the machine, elsewhere", Unit{Manager: Systemd, System: true, User: "root", Program: path, Home: odd, Writable: []string{odd}}},
		{"of a user", Unit{Manager: Systemd, Program: path}},
		{"of a user, elsewhere", Unit{Manager: Systemd, Program: path, Home: odd}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := tt.unit.Text()
			if err != nil {
				t.Fatal(err)
			}
			if said, err := verify(t, text, tt.unit.System); err != nil || strings.TrimSpace(said) != "" {
				t.Errorf("systemd-analyze verify: %v\n%s\n%s", err, said, text)
			}
		})
	}
	t.Run("it would notice", func(t *testing.T) {
		text, err := machine.Text()
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []string{strings.Replace(text, "OOMPolicy=continue", "OOMPolicy=perhaps", 1), strings.Replace(text, `/nanoclaw" run`, `/nobody" run`, 1)} {
			if said, err := verify(t, wrong, true); err == nil && said == "" {
				t.Error("systemd-analyze verify has nothing against a unit that is wrong")
			}
		}
	})
}

// verify asks systemd-analyze, which reads files and starts nothing.
func verify(t *testing.T, text string, system bool) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "nanoclaw.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	scope := "--system"
	if !system {
		scope = "--user"
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", scope, "verify", "--man=no", "--recursive-errors=no", file)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "SYSTEMD_LOG_TARGET=console"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// What would take the boundary down is in no unit, whatever else changes in it.
func TestUnitsPermitTheBoundary(t *testing.T) {
	never := []string{
		"ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectKernelLogs", "RestrictNamespaces", "PrivateUsers", "ProtectControlGroups",
		"PrivateNetwork", "IPAddressDeny", "NoNewPrivileges", "SystemCallFilter", "MemoryDenyWriteExecute", "PrivateDevices", "ProtectHome", "InaccessiblePaths",
	}
	for name, u := range map[string]Unit{
		"machine": {Manager: Systemd, System: true, User: Name, Program: "/usr/local/bin/nanoclaw", OwnRuntime: true},
		"root":    {Manager: Systemd, System: true, User: "root", Program: "/usr/local/bin/nanoclaw", OwnRuntime: true},
		"user":    {Manager: Systemd, Program: "/usr/local/bin/nanoclaw"},
	} {
		d := directives(t, u)
		for _, n := range never {
			if v, ok := d[n]; ok {
				t.Errorf("%s: %s=%s", name, n, v)
			}
			if text, _ := u.Text(); !strings.Contains(text, n+"=") && n != "InaccessiblePaths" && n != "ProtectHome" {
				t.Errorf("%s: the unit does not say why there is no %s=", name, n)
			}
		}
		if d["Type"] != "notify" || d["WatchdogSec"] == "" || d["StartLimitBurst"] == "" || d["Delegate"] != "yes" || d["LimitCORE"] != "1" {
			t.Errorf("%s: %v", name, d)
		}
		if _, caps := d["CapabilityBoundingSet"]; caps != u.System {
			t.Errorf("%s: a bounding set: %t", name, caps)
		}
		if _, private := d["PrivateTmp"]; private && !u.System {
			t.Errorf("%s: PrivateTmp implies PrivateUsers for a user", name)
		}
	}
	if d := directives(t, Unit{Manager: Systemd, System: true, User: Name, Program: "/x"}); d["User"] != Name || d["AmbientCapabilities"] != d["CapabilityBoundingSet"] || strings.Contains(d["AmbientCapabilities"], "DAC_OVERRIDE") {
		t.Errorf("the system user gets %v", d)
	}
}

// directives are the settings of a unit by name.
func directives(t *testing.T, u Unit) map[string]string {
	t.Helper()
	text, err := u.Text()
	if err != nil {
		t.Fatal(err)
	}
	d := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			d[name] = value
		}
	}
	return d
}

// The property list is parsed as what it is: pairs of keys and values.
func TestLaunchdUnit(t *testing.T) {
	u := Unit{Manager: Launchd, Program: "/Users/a&b/<bin>/nanoclaw", Home: `/Users/"x"`, Log: "/Users/a/service.log"}
	text, err := u.Text()
	if err != nil {
		t.Fatal(err)
	}
	got := plist(t, text)
	for key, want := range map[string]string{
		"Label": "nanoclaw", "ProgramArguments": u.Program + " run --json", "RunAtLoad": "true", "ThrottleInterval": "60", "Umask": "63",
		"NANOCLAW_HOME": u.Home, "SuccessfulExit": "false", "StandardErrorPath": u.Log,
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
}

// plist reads the leaves of a property list by their keys.
func plist(t *testing.T, text string) map[string]string {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	values, key, element := map[string]string{}, "", ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return values
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch x := token.(type) {
		case xml.StartElement:
			if element = x.Name.Local; element == "true" || element == "false" {
				values[key] = element
			}
		case xml.EndElement:
			element = ""
		case xml.CharData:
			switch element {
			case "key":
				key = string(x)
			case "string", "integer":
				values[key] = strings.TrimSpace(values[key] + " " + string(x))
			}
		}
	}
}

func TestTextRefusesWhatNoUnitCanName(t *testing.T) {
	for _, u := range []Unit{{Program: "/a\nExecStartPre=/bin/sh"}, {Program: `/a"`}, {Program: "/a", Home: "/b\r"}, {Program: "/a", Writable: []string{"/c\x00"}}} {
		for _, m := range []Manager{Systemd, Launchd} {
			if u.Manager, u.System = m, true; m == Launchd && u.Program == `/a"` {
				continue // XML has words for it
			}
			if text, err := u.Text(); err == nil {
				t.Errorf("%+v gives\n%s", u, text)
			}
		}
	}
}
