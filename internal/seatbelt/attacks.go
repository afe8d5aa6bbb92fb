package seatbelt

import "nanoclaw/internal/sbpl"

// Attack is one attempt of the catalogue that is particular to macOS: what an
// owner's Mac can try for real, and what the profile says of it anywhere.
type Attack struct {
	// ID is the line of the catalogue; lines tried in more ways have a letter.
	ID string
	// What is tried, in words.
	What string
	// Command is run inside a session by /bin/sh, in its workspace. It ends with
	// 0 only if the attempt succeeded, and harms nothing if it does. "" cannot be
	// tried by a command.
	Command string
	// Asked is what the attempt comes down to: it fails if one of them is refused.
	// Paths are those of a session whose workspace is WS, an owner's folder with
	// rights to write RW, and a secret outside SECRET.
	Asked []sbpl.Query
	// Expected is the refusal in words.
	Expected string
}

// Places stand for the folders of a session in Asked and Command.
type Places struct{ WS, RW, Secret string }

// Attacks are the lines of the catalogue for macOS, for a session with these
// places. Where Protected names are given to Params, ".claude" and ".git/hooks"
// must be among them.
func Attacks(at Places) []Attack {
	lookup := func(name string) sbpl.Query { return sbpl.Query{Op: "mach-lookup", Name: name} }
	write := func(op, path string) sbpl.Query { return sbpl.Query{Op: "file-write-" + op, Path: path} }
	return []Attack{
		{"M-01a", "open a program through LaunchServices", `open -g -a Calculator`,
			[]sbpl.Query{lookup("com.apple.coreservices.launchservicesd"), {Op: "lsopen"}}, "no LaunchServices"},
		{"M-01b", "run a script through Apple Events", `osascript -e 'tell application "Finder" to get name'`,
			[]sbpl.Query{{Op: "appleevent-send"}}, "no Apple Events"},
		{"M-02", "start a job through launchd", `launchctl submit -l nanoclaw.attack -- /usr/bin/true && launchctl remove nanoclaw.attack`,
			[]sbpl.Query{{Op: "job-creation"}}, "no jobs"},
		{"M-03", "put a link where a protected folder would be", `ln -s /tmp "` + at.RW + `/.claude"`,
			[]sbpl.Query{write("create", at.RW+"/.claude")}, "EPERM"},
		{"M-04", "move a folder away, change it, and move it back", `cd "` + at.RW + `" && mkdir -p a/.git && mv a/.git a/x && mkdir -p a/x/hooks && mv a/x a/.git`,
			[]sbpl.Query{write("unlink", at.RW+"/a/.git"), write("create", at.RW+"/a/.git")}, "EPERM"},
		{"M-05", "speak to Docker over its socket", `curl -s --max-time 2 --unix-socket /var/run/docker.sock http://x/_ping`,
			[]sbpl.Query{{Op: "network-outbound", Addr: "/private/var/run/docker.sock"}}, "no Unix sockets"},
		{"M-06a", "send data out as a question to DNS", `dscacheutil -q host -a name nanoclaw-attack.invalid | grep -q ip_address`,
			[]sbpl.Query{{Op: "network-outbound", Addr: "/private/var/run/mDNSResponder"}}, "no mDNSResponder"},
		{"M-06b", "ask DNS over a service", ``, []sbpl.Query{lookup("com.apple.dnssd.service")}, "no such service"},
		{"M-07", "make trustd fetch a list of certificates", `security verify-cert -c /usr/share/doc/nothing.pem`,
			[]sbpl.Query{lookup("com.apple.trustd.agent")}, "no trustd"},
		{"M-08a", "read a password from the keychain", `security find-generic-password -w -s nanoclaw-attack`,
			[]sbpl.Query{lookup("com.apple.SecurityServer")}, "no keychain"},
		{"M-08b", "read the keychain's file", `ls "$(dirname "` + at.Secret + `")" /Library/Keychains/System.keychain`,
			[]sbpl.Query{{Op: "file-read-data", Path: "/Library/Keychains/System.keychain"}}, "EPERM"},
		{"M-09", "read the pasteboard", `pbpaste`, []sbpl.Query{lookup("com.apple.pasteboard.1")}, "no pasteboard"},
		{"M-10", "apply a weaker profile to oneself", `sandbox-exec -p '(version 1)(allow default)' /bin/cat "` + at.Secret + `"`,
			[]sbpl.Query{{Op: "file-read-data", Path: at.Secret}}, "a second profile only takes away"},
		{"M-11", "run a program that the profile lets go", `/bin/ps -A -o pid= | grep -q .`,
			[]sbpl.Query{{Op: "process-info-listpids", Target: "others"}}, "no rule lets a program leave; set-uid ones do not run"},
		{"M-12a", "connect to a service of the machine on loopback", `nc -z -G 2 127.0.0.1 22`,
			[]sbpl.Query{{Op: "network-outbound", Addr: "127.0.0.1:22"}}, "EPERM"},
		{"M-12b", "listen on loopback", `nc -l -w 1 127.0.0.1 48001`,
			[]sbpl.Query{{Op: "network-bind", Addr: "127.0.0.1:48001"}}, "EPERM"},
		{"M-13", "give a closed file a second name in the workspace", `ln "` + at.Secret + `" "` + at.WS + `/second"`,
			[]sbpl.Query{{Op: "file-link", Path: at.Secret}, {Op: "file-link", Path: at.WS + "/second"}}, "EPERM"},
		{"M-13b", "clone a closed file into the workspace", `cp -c "` + at.Secret + `" "` + at.WS + `/clone"`,
			[]sbpl.Query{{Op: "file-clone", Path: at.Secret}}, "EPERM"},
		{"M-14a", "write a hook by a name in capitals", `mkdir -p "` + at.RW + `/.GIT/Hooks" && : > "` + at.RW + `/.GIT/Hooks/post-checkout"`,
			[]sbpl.Query{write("create", at.RW+"/.GIT/Hooks/post-checkout")}, "EPERM"},
		{"M-14b", "write a hook by a name with a letter in disguise", "mkdir -p \"" + at.RW + "/.git/hoo\u212as\"",
			[]sbpl.Query{write("create", at.RW+"/.git/hoo\u212as")}, "EPERM"},
		{"M-15", "read the owner's files by the path of the other volume", `ls /System/Volumes/Data/Users`,
			[]sbpl.Query{{Op: "file-read-data", Path: "/System/Volumes/Data/Users"}}, "EPERM"},
		{"M-16", "read the environment of other processes", `sysctl -n kern.procargs2.1 kern.proc.all`,
			[]sbpl.Query{{Op: "sysctl-read", Name: "kern.procargs2.1"}, {Op: "process-info-pidinfo", Target: "others"}}, "EPERM"},
		{"M-17", "open the owner's terminals", `for t in /dev/ttys00*; do : > "$t" && exit 0; done; exit 1`,
			[]sbpl.Query{{Op: "file-write-data", Path: "/dev/ttys000"}}, "EPERM"},
		{"M-18", "end processes of the owner", `kill -0 "$PPID" && kill -0 1`,
			[]sbpl.Query{{Op: "signal", Target: "others"}}, "EPERM"},
	}
}
