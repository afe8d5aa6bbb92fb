package store

import (
	"context"
	"database/sql"
	"sync"
)

// maxPrepared bounds the statements that a pool keeps prepared. The queries that are
// asked for each message are a few dozen; those that are composed may be any number.
const maxPrepared = 64

// pool is a database whose queries are parsed once and not each time, which takes
// longer than to answer most of them. PostgreSQL's driver does that by itself.
type pool struct {
	*sql.DB
	plain bool // nothing is kept

	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

func newPool(db *sql.DB, plain bool) *pool {
	return &pool{DB: db, plain: plain, stmts: map[string]*sql.Stmt{}}
}

// prepared gives a statement that lives as long as the pool, nil if there are too many.
func (p *pool) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if p.plain {
		return nil, nil
	}
	p.mu.Lock()
	st, full := p.stmts[query], len(p.stmts) >= maxPrepared
	p.mu.Unlock()
	if st != nil || full {
		return st, nil
	}
	st, err := p.DB.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.stmts[query]; other != nil || len(p.stmts) >= maxPrepared { // somebody was faster
		st.Close()
		return other, nil
	}
	p.stmts[query] = st
	return st, nil
}

// QueryContext makes pool a querier.
func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := p.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return p.DB.QueryContext(ctx, query, args...)
	}
	return st.QueryContext(ctx, args...)
}

// QueryRowContext is QueryContext for one row. Its errors come with Scan.
func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	st, err := p.prepared(ctx, query)
	if err != nil || st == nil {
		return p.DB.QueryRowContext(ctx, query, args...) // says what is wrong with it
	}
	return st.QueryRowContext(ctx, args...)
}
