package boundary

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// UIDs is a range of user and group ids of this machine.
type UIDs struct {
	First int `json:"first"`
	Count int `json:"count"`
}

// String gives the range as a person would write it.
func (r UIDs) String() string { return fmt.Sprintf("%d–%d", r.First, r.First+r.Count-1) }

func (r UIDs) overlaps(o UIDs) bool {
	return r.First < o.First+o.Count && o.First < r.First+r.Count
}

// IDFiles are the contents of the files in which a machine says whose ids are
// whose.
type IDFiles struct {
	Passwd, Group  string // passwd(5), group(5)
	SubUID, SubGID string // subuid(5), subgid(5)
}

// The default range, and how far the next candidate lies from one that is
// taken.
const (
	firstUID = 1_900_000_000
	countUID = 65_536
	lastUID  = 2_100_000_000
)

// systemdRanges are ids that systemd uses without an entry in any file: for
// dynamic users, containers and files of foreign machines
// (https://systemd.io/UIDS-GIDS).
var systemdRanges = [...]UIDs{
	{0, 1000}, // the system's own users, of whatever program
	{60_001, 65_535 - 60_001 + 1},
	{524_288, 1_879_048_191 - 524_288 + 1},
	{2_147_352_576, 65_536},
}

// UIDRange chooses the range from which groups get uids of their own when
// nanoclaw runs as root, or judges the one that was recorded: nobody else on
// the machine may have an id in it, since who has a group's uid may read its
// files. The caller records the answer. It only looks at what it is given; a
// directory server is asked by nobody.
func UIDRange(files IDFiles, recorded UIDs) (UIDs, error) {
	taken, err := files.ranges()
	if err != nil {
		return UIDs{}, err
	}
	if recorded != (UIDs{}) {
		if recorded.First < 1 || recorded.Count < 1 || recorded.First > lastUID || recorded.Count > lastUID {
			return UIDs{}, fmt.Errorf("the recorded range of uids %v makes no sense", recorded)
		}
		if o, ok := overlap(recorded, taken); ok {
			return UIDs{}, fmt.Errorf("the uids %v of our groups are used by others as well: %v", recorded, o)
		}
		return recorded, nil
	}
	for first := firstUID; first+countUID <= lastUID; first += countUID {
		r := UIDs{first, countUID}
		if _, ok := overlap(r, taken); !ok {
			return r, nil
		}
	}
	return UIDs{}, errors.New("no range of uids is free between 1900000000 and 2100000000; free one in /etc/subuid and /etc/subgid")
}

func overlap(r UIDs, taken []UIDs) (UIDs, bool) {
	for _, o := range taken {
		if r.overlaps(o) {
			return o, true
		}
	}
	return UIDs{}, false
}

// ranges gives every id in use.
func (f IDFiles) ranges() ([]UIDs, error) {
	taken := systemdRanges[:]
	for _, file := range []struct {
		name, text string
		parse      func(fields []string) (UIDs, error)
	}{
		{"/etc/passwd", f.Passwd, singleID}, {"/etc/group", f.Group, singleID},
		{"/etc/subuid", f.SubUID, rangeOfIDs}, {"/etc/subgid", f.SubGID, rangeOfIDs},
	} {
		for i, line := range strings.Split(file.text, "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-") {
				continue // a comment, or a directory server (nsswitch.conf(5), compat)
			}
			r, err := file.parse(strings.Split(line, ":"))
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", file.name, i+1, err)
			}
			taken = append(taken[:len(taken):len(taken)], r)
		}
	}
	return taken, nil
}

// singleID reads the third field, which is an id in passwd and group.
func singleID(fields []string) (UIDs, error) {
	if len(fields) < 3 {
		return UIDs{}, errors.New("there is no third field")
	}
	id, err := parseID(fields[2])
	return UIDs{id, 1}, err
}

// rangeOfIDs reads a line of subuid or subgid: name, first, count.
func rangeOfIDs(fields []string) (UIDs, error) {
	if len(fields) != 3 {
		return UIDs{}, errors.New("there are not three fields")
	}
	first, err := parseID(fields[1])
	if err != nil {
		return UIDs{}, err
	}
	count, err := parseID(fields[2])
	return UIDs{first, count}, err
}

func parseID(s string) (int, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an id", s)
	}
	return int(id), nil
}
