package boundary

import (
	"strings"
	"testing"
)

func TestUIDRange(t *testing.T) {
	first := UIDs{firstUID, countUID}
	second := UIDs{firstUID + countUID, countUID}
	plainFiles := IDFiles{
		Passwd: "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n# comment\n+::::::\n",
		Group:  "root:x:0:\nalice:x:1000:\n",
		SubUID: "alice:100000:65536\n", SubGID: "alice:100000:65536\n",
	}
	with := func(change func(*IDFiles)) IDFiles {
		f := plainFiles
		change(&f)
		return f
	}
	for _, c := range []struct {
		name     string
		files    IDFiles
		recorded UIDs
		want     UIDs
		err      string
	}{
		{name: "nothing known", want: first},
		{name: "usual files", files: plainFiles, want: first},
		{name: "taken by a subuid", files: with(func(f *IDFiles) { f.SubUID += "bob:1900000100:10\n" }), want: second},
		{name: "taken by a subgid from below", files: with(func(f *IDFiles) { f.SubGID += "bob:1899999999:2\n" }), want: second},
		{name: "a user in it", files: with(func(f *IDFiles) { f.Passwd += "x:x:1900065535:1::/:/\n" }), want: second},
		{name: "a group in it", files: with(func(f *IDFiles) { f.Group += "x:x:1900000000:\n" }), want: second},
		{name: "a subuid just beside it", files: with(func(f *IDFiles) { f.SubUID += "bob:1899934464:65536\n" }), want: first},
		{name: "all taken", files: with(func(f *IDFiles) { f.SubUID += "bob:1800000000:400000000\n" }), err: "no range"},
		{name: "recorded", files: plainFiles, recorded: UIDs{1_950_000_000, 100}, want: UIDs{1_950_000_000, 100}},
		{name: "recorded and now used", files: with(func(f *IDFiles) { f.SubUID += "bob:1950000050:1\n" }), recorded: UIDs{1_950_000_000, 100}, err: "used by others"},
		{name: "recorded among systemd's", recorded: UIDs{600_000, 100}, err: "used by others"},
		{name: "recorded among people", recorded: UIDs{900, 200}, err: "used by others"},
		{name: "recorded nonsense", recorded: UIDs{-5, 10}, err: "no sense"},
		{name: "recorded beyond 32 bits", recorded: UIDs{1_900_000_000, 1 << 40}, err: "no sense"},
		{name: "a line that is none", files: with(func(f *IDFiles) { f.SubUID += "bob\n" }), err: "/etc/subuid, line 2"},
		{name: "an id that is none", files: with(func(f *IDFiles) { f.Passwd += "x:x:-1:0::/:/\n" }), err: "/etc/passwd, line 5"},
	} {
		got, err := UIDRange(c.files, c.recorded)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, %v; want an error with %q", c.name, got, err, c.err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

// Whatever the files hold, the answer is free of what they name, or an error.
func FuzzUIDRange(f *testing.F) {
	f.Add("root:x:0:0::/:/\n", "root:x:0:\n", "a:100000:65536", "a:1900000000:4294967295", 0, 0)
	f.Add("x:x:1900000000:1", "", "b:1900070000:1", "", 1900000000, 5)
	f.Fuzz(func(t *testing.T, passwd, group, subuid, subgid string, first, count int) {
		files := IDFiles{passwd, group, subuid, subgid}
		got, err := UIDRange(files, UIDs{first, count})
		if err != nil {
			return
		}
		taken, err := files.ranges()
		if err != nil {
			t.Fatal(err)
		}
		if got.First < 1000 || got.Count < 1 {
			t.Errorf("the range is %v", got)
		}
		for _, o := range taken {
			for _, id := range []int{o.First, o.First + o.Count - 1} {
				if o.Count > 0 && id >= got.First && id < got.First+got.Count {
					t.Errorf("%v holds %d, which is taken", got, id)
				}
			}
		}
	})
}
