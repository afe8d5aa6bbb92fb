package imports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/beneath"
	"nanoclaw/internal/config"
	"nanoclaw/internal/oldstore"
)

// maxSmall bounds JSON files, .env and the like.
const maxSmall = 4 << 20

// Left is a part of the old installation that is not taken over.
type Left struct {
	What    string `json:"what"`
	Because string `json:"because"`
}

// Old is what an old installation holds, as it was read.
type Old struct {
	Groups   []oldstore.Group
	Tasks    []oldstore.Task
	Sessions map[string]string // by folder
	Cursors  map[string]string // by chat: up to when it was answered
	Spoken   map[string]Spoken // by chat
	Env      Env
	Senders  *SenderLists           // nil: there was no list
	Mounts   *config.MountAllowlist // nil: there was no list
	Fork     *Fork                  // nil: it is no installation of the fork
	Folders  map[string]Folder      // below groups/
	Talks    map[string]Talk        // transcripts, by folder
	Left     []Left                 // what could not be read
}

// Spoken is what is known of a chat's messages.
type Spoken struct {
	Messages, Expired int
	Writers           []Writer
}

// Writer is somebody who wrote.
type Writer struct{ ID, Name string }

// maxWriters is how many of a chat are told apart.
const maxWriters = 200

// Installation is an old installation that is open for reading.
type Installation struct {
	// Dir is where it really is.
	Dir string
	Old Old

	root *os.File
	db   *oldstore.Store // nil: there is only what came before it
	keep time.Time       // older messages would be removed at once
}

// Options say what Open looks at beside the folder.
type Options struct {
	Dir string
	// Policy is the owner's folder with the lists of folders and senders,
	// ~/.config/nanoclaw; "" for none.
	Policy string
	// Keep is the age from which on messages are not taken over; zero takes all.
	Keep time.Time
}

// Open reads an installation. What of it cannot be read is in Old.Left; it is an error
// only if there is none.
func Open(ctx context.Context, o Options) (_ *Installation, err error) {
	root, dir, err := beneath.Root(o.Dir)
	if err != nil {
		return nil, err
	}
	in := &Installation{Dir: dir, root: root, keep: o.Keep, Old: Old{
		Sessions: map[string]string{}, Cursors: map[string]string{}, Spoken: map[string]Spoken{}, Folders: map[string]Folder{}, Talks: map[string]Talk{},
	}}
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	if err := in.store(ctx); err != nil {
		return nil, err
	}
	legacy := in.legacy()
	if in.db == nil && !legacy {
		return nil, fmt.Errorf("there is no NanoClaw 1 in %s: neither %s nor data/registered_groups.json", dir, oldstore.Path)
	}
	if _, err := beneath.Stat(root, "data/v2.db"); err == nil {
		in.left("data/v2.db", "it is the store of NanoClaw 2, which is not read; only what version 1 left is")
	}
	in.Old.Env = in.env()
	in.Old.Fork = in.fork()
	in.policy(o.Policy)
	in.folders()
	return in, nil
}

// Close ends reading, and removes the copy of the store.
func (in *Installation) Close() error {
	err := in.root.Close()
	if in.db != nil {
		err = errors.Join(err, in.db.Close())
	}
	return err
}

func (in *Installation) left(what, because string) {
	in.Old.Left = append(in.Old.Left, Left{what, because})
}

// store opens the old store, if there is one, and reads all but the messages.
func (in *Installation) store(ctx context.Context) error {
	db, err := oldstore.Open(ctx, in.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	in.db = db
	var more [3]bool
	var errs [5]error
	in.Old.Groups, more[0], errs[0] = db.Groups(ctx)
	in.Old.Tasks, more[1], errs[1] = db.Tasks(ctx)
	in.Old.Sessions, errs[2] = db.Sessions(ctx)
	state, err := db.State(ctx)
	errs[3] = err
	more[2], errs[4] = in.spoken(ctx)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("%s cannot be read: %w", oldstore.Path, err)
	}
	for i, what := range []string{"groups", "tasks", "messages"} {
		if more[i] {
			in.left("further "+what, "there are more than are read at once")
		}
	}
	if text := state["last_agent_timestamp"]; text != "" && json.Unmarshal([]byte(text), &in.Old.Cursors) != nil {
		in.left("router_state", "last_agent_timestamp is no JSON: which messages wait for an answer is not known")
	}
	if n, err := db.Count(ctx, "task_run_logs"); err == nil && n > 0 {
		in.left(fmt.Sprintf("%d entries about past runs of tasks", n), "the history of a task begins here")
	}
	return nil
}

// spoken counts the messages of each chat, and who wrote them.
func (in *Installation) spoken(ctx context.Context) (more bool, err error) {
	return in.db.Messages(ctx, func(m oldstore.Message) error {
		s := in.Old.Spoken[m.JID]
		if len(in.Old.Spoken) > oldstore.MaxRows {
			return nil
		}
		if in.expired(m) {
			s.Expired++
		} else {
			s.Messages++
		}
		who := Writer{m.Sender, m.Name}
		if !m.FromMe && !m.Bot && who.ID != "" && len(s.Writers) < maxWriters && !slices.ContainsFunc(s.Writers, func(w Writer) bool { return w.ID == who.ID }) {
			s.Writers = append(s.Writers, who)
		}
		in.Old.Spoken[m.JID] = s
		return nil
	})
}

func (in *Installation) expired(m oldstore.Message) bool {
	return !in.keep.IsZero() && oldstore.Time(m.Time).Before(in.keep)
}

// legacy reads the files that the first versions had in place of the store. A file that
// is there was not taken up by the store yet.
func (in *Installation) legacy() (found bool) {
	var groups map[string]struct {
		Name            string          `json:"name"`
		Folder          string          `json:"folder"`
		Trigger         string          `json:"trigger"`
		RequiresTrigger *bool           `json:"requiresTrigger"`
		ContainerConfig json.RawMessage `json:"containerConfig"`
	}
	if found = in.json("data/registered_groups.json", &groups); found {
		known := map[string]bool{}
		for _, g := range in.Old.Groups {
			known[g.JID] = true
		}
		for _, jid := range slices.Sorted(mapKeys(groups)) {
			if g := groups[jid]; !known[jid] && len(in.Old.Groups) < oldstore.MaxRows {
				in.Old.Groups = append(in.Old.Groups, oldstore.Group{JID: jid, Name: g.Name, Folder: g.Folder, Trigger: g.Trigger,
					Config: string(g.ContainerConfig), Always: g.RequiresTrigger != nil && !*g.RequiresTrigger, Main: g.Folder == "main"})
			}
		}
	}
	var sessions map[string]string
	in.json("data/sessions.json", &sessions)
	for folder, id := range sessions {
		if in.Old.Sessions[folder] == "" {
			in.Old.Sessions[folder] = id
		}
	}
	var state struct {
		Agent map[string]string `json:"last_agent_timestamp"`
	}
	in.json("data/router_state.json", &state)
	for jid, at := range state.Agent {
		if in.Old.Cursors[jid] == "" {
			in.Old.Cursors[jid] = at
		}
	}
	return found
}

// json reads a JSON file of the old folder, and says whether there was one to read.
func (in *Installation) json(name string, into any) bool {
	data, ok := in.small(name)
	if !ok {
		return false
	}
	if err := json.Unmarshal(data, into); err != nil {
		in.left(name, "it is not the JSON that NanoClaw 1 wrote")
		return false
	}
	return true
}

// small reads a small file of the old folder. One that is there and cannot be read is
// named.
func (in *Installation) small(name string) ([]byte, bool) {
	f, err := beneath.File(in.root, name)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxSmall+1)); err == nil && len(data) > maxSmall {
			err = fmt.Errorf("it is larger than %d MB", maxSmall>>20)
		}
		if err == nil {
			return data, true
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		in.left(name, cannot(err))
	}
	return nil, false
}

// policy reads the owner's lists, which lie outside of what agents could write.
func (in *Installation) policy(dir string) {
	if dir == "" {
		return
	}
	mounts, _, err := config.ReadMountAllowlist(dir)
	if in.Old.Mounts = mounts; err != nil && !errors.Is(err, fs.ErrNotExist) {
		in.left(config.MountAllowlistFile, firstLine(err)+"; no folder is lent without it")
	}
	data, _, err := config.ReadBeside(dir, SenderListFile, maxSmall)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		in.left(SenderListFile, firstLine(err)+"; nobody is let in without it")
		in.Old.Senders = &SenderLists{}
	default:
		if in.Old.Senders, err = parseSenders(data); err != nil {
			in.left(SenderListFile, err.Error()+"; nobody is let in without it")
			in.Old.Senders = &SenderLists{}
		}
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
