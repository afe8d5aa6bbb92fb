package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/chat"
)

// Several processes, the nodes, may share a store in PostgreSQL. Each has a name that
// its owner gave it and that no other bears at the same time, and is heard of every
// BeatEvery. They trust each other and the database: a node can do all that is in the
// store, in the name of any other.

// Node is a process of those that share a store, or the last that bore its name.
type Node struct {
	Name, Owner, Version string
	Started              time.Time
	// Beat is when it was last heard of; zero if it ended in order.
	Beat time.Time
	// Lives says that it was heard of within LeaseTime.
	Lives bool
	// Groups are those whose folders it has.
	Groups []chat.Group
	// Duties are the named leases that it holds, and since when.
	Duties []Duty
}

// Duty is what one process does at a time.
type Duty struct {
	Name  string
	Since time.Time
}

// Place says where the runs of a group may be.
type Place struct {
	// Node is the only one, "" for the one that served it first.
	Node string
	// Moves says that each node has the group's folders, so that another may go on
	// with it when its own is dead.
	Moves bool
}

// OnPlace has f say where groups may be. Without it they are where they were first.
func (s *Store) OnPlace(f func(chat.Group) Place) { s.place.Store(&f) }

// Served is what this process can deliver of what others stored too.
type Served struct {
	// Not are the channels that other processes hold.
	Not []chat.ChannelID
	// But are chats of those that this process serves all the same.
	But []chat.Address
}

// OnServed has f say what this process can deliver. Without it that is everything.
func (s *Store) OnServed(f func() Served) { s.serves.Store(&f) }

// maxSkew is how far the clock of a node may be from the server's. What a node holds is
// its own for LeaseTime by its clock, and given to others by theirs.
const maxSkew = 2 * time.Second

// enter makes this process known. Whoever bore its name before is dead, since it holds
// the lock of the name: what that one held is free at once.
func (s *Store) enter(ctx context.Context, version string) error {
	var server float64
	before := s.now()
	if err := s.Reader.db.QueryRowContext(ctx, `SELECT extract(epoch FROM clock_timestamp())::float8`).Scan(&server); err != nil {
		return explain(s.path, err)
	}
	there := time.Unix(0, int64(server*float64(time.Second)))
	if there.Before(before.Add(-maxSkew)) || there.After(s.now().Add(maxSkew)) {
		return fmt.Errorf("the clock of this machine and that of the database are more than %v apart: nodes that share a database need clocks that agree (NTP)", maxSkew)
	}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		var old string
		err := t.row(ctx, []any{&old}, `SELECT owner FROM nodes WHERE name = ?`, s.node)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := release(ctx, t, old); err != nil {
			return err
		}
		now := s.now().UnixNano()
		_, err = t.exec(ctx, `INSERT INTO nodes (name, owner, version, started, beat) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, version = excluded.version, started = excluded.started, beat = excluded.beat`,
			s.node, s.owner, version, now, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the node %s known: %w", s.node, err)
	}
	return nil
}

// release lets everything go that an owner who is dead held.
func release(ctx context.Context, t *tx, owner string) error {
	if owner == "" {
		return nil
	}
	for _, q := range []string{
		`UPDATE runs SET beat = 0 WHERE owner = ? AND ` + liveStates,
		`UPDATE outbox SET beat = 0 WHERE owner = ? AND state = 'sending'`,
		`UPDATE leases SET owner = '', until = 0 WHERE owner = ?`,
	} {
		if _, err := t.exec(ctx, q, owner); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, `DELETE FROM meta WHERE key >= ? AND key < ?`, postKey+owner+":", postKey+owner+";")
	return err
}

// Leave says that this process ends, so that others take up its duties at once.
func (s *Store) Leave(ctx context.Context) error {
	if s.node == "" {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := release(ctx, t, s.owner); err != nil {
			return err
		}
		_, err := t.exec(ctx, `UPDATE nodes SET beat = 0 WHERE name = ? AND owner = ?`, s.node, s.owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("say that the node %s ends: %w", s.node, err)
	}
	return nil
}

// beatNode notes that this process lives.
func (s *Store) beatNode(ctx context.Context, t *tx, now int64) error {
	if s.node == "" {
		return nil
	}
	_, err := t.exec(ctx, `UPDATE nodes SET beat = ? WHERE name = ? AND owner = ?`, now, s.node, s.owner)
	return err
}

// allows says whether a group whose folders the node pin has, last heard of at beat,
// may be served here.
func (s *Store) allows(g chat.Group, pin string, beat int64) bool {
	var p Place
	if f := s.place.Load(); f != nil {
		p = (*f)(g)
	}
	switch {
	case p.Node != "":
		return p.Node == s.node
	case pin == "" || pin == s.node:
		return true
	}
	return p.Moves && beat <= s.silent()
}

const placesQuery = `SELECT g.grp, g.node, coalesce(n.beat, 0) FROM groups g LEFT JOIN nodes n ON n.name = g.node`

// servedHere keeps the groups that may be served here.
func (s *Store) servedHere(ctx context.Context, groups []chat.Group) ([]chat.Group, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	type place struct {
		node string
		beat int64
	}
	places := map[chat.Group]place{}
	err := each(ctx, s.Reader.db, func(rows *sql.Rows) error {
		var g chat.Group
		var p place
		err := rows.Scan(&g, &p.node, &p.beat)
		places[g] = p
		return err
	}, placesQuery)
	if err != nil {
		return nil, fmt.Errorf("find where groups are served: %w", explain(s.path, err))
	}
	return slices.DeleteFunc(groups, func(g chat.Group) bool { return !s.allows(g, places[g].node, places[g].beat) }), nil
}

// takePlace makes this process the one that has a group, and says whether it is.
func (s *Store) takePlace(ctx context.Context, t *tx, g chat.Group) (bool, error) {
	if s.node == "" {
		return true, nil
	}
	var pin string
	var beat int64
	err := t.row(ctx, []any{&pin, &beat}, `SELECT g.node, coalesce(n.beat, 0) FROM groups g LEFT JOIN nodes n ON n.name = g.node WHERE g.grp = ?`, g)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if !s.allows(g, pin, beat) {
		return false, nil
	}
	if pin != s.node {
		_, err = t.exec(ctx, `INSERT INTO groups (grp, node) VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET node = excluded.node`, g, s.node)
	} else {
		err = nil
	}
	return err == nil, err
}

// Elsewhere lists the groups that were served here and are now on another node.
func (s *Store) Elsewhere(ctx context.Context) ([]chat.Group, error) {
	var out []chat.Group
	err := each(ctx, s.Reader.db, func(rows *sql.Rows) error {
		var g chat.Group
		err := rows.Scan(&g)
		out = append(out, g)
		return err
	}, `SELECT grp FROM groups WHERE node <> '' AND node <> ? ORDER BY grp`, s.node)
	if err != nil {
		return nil, fmt.Errorf("list the groups of other nodes: %w", explain(s.path, err))
	}
	return out, nil
}

// deliverable is the further condition of what may be delivered here.
func (s *Store) deliverable() (and string, args []any) {
	f := s.serves.Load()
	if f == nil {
		return "", nil
	}
	served := (*f)()
	if len(served.Not) == 0 {
		return "", nil
	}
	for _, id := range served.Not {
		args = append(args, id)
	}
	var b strings.Builder
	fmt.Fprintf(&b, ` AND (o.channel NOT IN (%s)`, marks(len(served.Not)))
	for _, to := range served.But {
		b.WriteString(` OR (o.channel = ? AND o.chat = ?)`)
		args = append(args, to.Channel, to.Chat)
	}
	b.WriteString(`)`)
	return b.String(), args
}

// Nodes lists the processes that share the store, by name.
func (r *Reader) Nodes(ctx context.Context, now time.Time) ([]Node, error) {
	var out []Node
	at := map[string]int{} // by name and by owner
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var n Node
		var started, beat int64
		err := rows.Scan(&n.Name, &n.Owner, &n.Version, &started, &beat)
		n.Started = time.Unix(0, started)
		if beat > 0 {
			n.Beat = time.Unix(0, beat)
		}
		n.Lives = beat > now.Add(-LeaseTime).UnixNano()
		at["name "+n.Name], at["owner "+n.Owner] = len(out), len(out)
		out = append(out, n)
		return err
	}, `SELECT name, owner, version, started, beat FROM nodes ORDER BY name`)
	if err == nil {
		err = each(ctx, r.db, func(rows *sql.Rows) error {
			var g chat.Group
			var node string
			err := rows.Scan(&g, &node)
			if i, ok := at["name "+node]; ok {
				out[i].Groups = append(out[i].Groups, g)
			}
			return err
		}, `SELECT grp, node FROM groups WHERE node <> '' ORDER BY grp`)
	}
	if err == nil {
		err = each(ctx, r.db, func(rows *sql.Rows) error {
			var d Duty
			var owner string
			var since int64
			err := rows.Scan(&d.Name, &owner, &since)
			d.Since = time.Unix(0, since)
			if i, ok := at["owner "+owner]; ok {
				out[i].Duties = append(out[i].Duties, d)
			}
			return err
		}, `SELECT name, owner, since FROM leases WHERE owner <> '' AND until > ? ORDER BY name`, now.UnixNano())
	}
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", explain(r.path, err))
	}
	return out, nil
}
