package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Every statement of this package is written once, in the words that SQLite and
// PostgreSQL share, with ? for its arguments and integers for truth. This file is
// what makes PostgreSQL take it: a database/sql driver around pgx's own that numbers
// the arguments and turns booleans into integers, both ways. The few statements that
// really differ (connection, schema, transaction, check, copy) are in postgres.go
// beside connect.go. So that a statement means the same to both:
//
//   - a column in the SET of an upsert is named with its table,
//   - a condition is a condition, WHERE 1 = 1, and no number: CASE makes one of it,
//   - JSON is read with json_extract(text, '$.a.b'),
//   - text is compared by its bytes (COLLATE "C" in each text column).

// rebind numbers the arguments of a statement, as PostgreSQL wants them: ? becomes
// $1, $2 and so on, but not in quotes and comments.
func rebind(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	b := make([]byte, 0, len(query)+16)
	n := 0
	for i := 0; i < len(query); {
		if skip := quoted(query[i:]); skip > 0 {
			b = append(b, query[i:i+skip]...)
			i += skip
			continue
		}
		if query[i] == '?' {
			n++
			b = strconv.AppendInt(append(b, '$'), int64(n), 10)
		} else {
			b = append(b, query[i])
		}
		i++
	}
	return string(b)
}

// quoted is the length of the quoted part or comment with which s begins, 0 if it
// begins with none. A doubled quote inside is two parts in a row, which is as good.
func quoted(s string) int {
	for _, q := range []struct{ from, to string }{{"'", "'"}, {`"`, `"`}, {"--", "\n"}, {"/*", "*/"}} {
		rest, ok := strings.CutPrefix(s, q.from)
		if !ok {
			continue
		}
		if end := strings.Index(rest, q.to); end >= 0 {
			return len(q.from) + end + len(q.to)
		}
		return len(s)
	}
	return 0
}

// portable is an argument as both engines keep it. PostgreSQL's text has no zero
// byte and is always UTF-8; what a network or an agent sends may be neither, and is
// then kept with the replacement character, here and in every comparison.
func portable(v driver.Value) driver.Value {
	switch v := v.(type) {
	case bool:
		return truth(v)
	case string:
		return strings.ReplaceAll(strings.ToValidUTF8(v, "\uFFFD"), "\x00", "\uFFFD")
	}
	return v
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// dialect makes connections of pgx's that speak as this package does.
type dialect struct {
	driver.Connector
	// rerun lets database/sql run a statement again on another connection when one
	// was lost. Only a connection that cannot write has it.
	rerun bool
	// patience is how long to wait for a server that cannot be reached.
	patience time.Duration
}

func (d dialect) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.Connector.Connect(ctx)
	for end := time.Now().Add(d.patience); err != nil && disconnected(err) && time.Now().Before(end); c, err = d.Connector.Connect(ctx) {
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
	if err != nil {
		return nil, err
	}
	pg, ok := c.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(errors.New("store: pgx gave a connection of another kind; this is a fault of the program"), c.Close())
	}
	return &dialectConn{pg, d.rerun}, nil
}

type dialectConn struct {
	*stdlib.Conn
	rerun bool
}

// CheckNamedValue is driver.NamedValueChecker's, for statements too.
func (c *dialectConn) CheckNamedValue(nv *driver.NamedValue) error {
	v, err := driver.DefaultParameterConverter.ConvertValue(nv.Value)
	nv.Value = portable(v)
	return err
}

// PrepareContext is driver.ConnPrepareContext's.
func (c *dialectConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.Conn.PrepareContext(ctx, rebind(query))
	if err != nil {
		return nil, err
	}
	pg, ok := st.(*stdlib.Stmt)
	if !ok {
		return nil, errors.Join(errors.New("store: pgx gave a statement of another kind; this is a fault of the program"), st.Close())
	}
	return &dialectStmt{pg}, nil
}

// ExecContext is driver.ExecerContext's.
func (c *dialectConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.ExecContext(ctx, rebind(query), args)
}

// QueryContext is driver.QueryerContext's.
func (c *dialectConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, rebind(query), args)
	if err != nil {
		if c.rerun && disconnected(err) {
			err = driver.ErrBadConn
		}
		return nil, err
	}
	return &dialectRows{rows}, nil
}

type dialectStmt struct{ *stdlib.Stmt }

// QueryContext is driver.StmtQueryContext's.
func (s *dialectStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.Stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	return &dialectRows{rows}, nil
}

type dialectRows struct{ driver.Rows }

// Next is driver.Rows's.
func (r *dialectRows) Next(dest []driver.Value) error {
	if err := r.Rows.Next(dest); err != nil {
		return err
	}
	for i, v := range dest {
		if b, ok := v.(bool); ok {
			dest[i] = truth(b)
		}
	}
	return nil
}

// disconnected says of an error that the connection is gone, or that the server ends
// or begins, so that another connection may do better. Classes of errors are in
// PostgreSQL's manual, appendix A.
func disconnected(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case strings.HasPrefix(pg.Code, "08"), // connection exception
			strings.HasPrefix(pg.Code, "57P"), // ended by an administrator, by a crash, or not yet ready
			pg.Code == "25P03",                // the session was silent in a transaction for too long
			pg.Code == "53300":                // too many connections
			return true
		}
		return false
	}
	var refused *pgconn.ConnectError
	var network *net.OpError
	return errors.As(err, &refused) || errors.As(err, &network) || slices.ContainsFunc([]error{driver.ErrBadConn, sql.ErrConnDone,
		pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF}, func(is error) bool { return errors.Is(err, is) })
}
