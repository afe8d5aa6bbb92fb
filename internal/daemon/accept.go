package daemon

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"nanoclaw/internal/audit"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/plan"
)

// What the store remembers of the configuration.
const (
	acceptedKey = "config.accepted" // the one that the owner accepted last, as JSON of accepted
	runningKey  = "config.running"  // runs, or "" once a process ended as it was asked to
	runs        = "yes"
)

// accepted is a configuration that the owner accepted. Of secrets it has a keyed
// hash: it tells whether they changed.
type accepted struct {
	Salt    []byte                `json:"salt"`
	Config  json.RawMessage       `json:"config"`            // config.Canonical
	Prompts map[chat.Group]string `json:"prompts,omitempty"` // hashes of those that are files
	// Lending is mount-allowlist.json, nil if there was none.
	Lending *config.MountAllowlist `json:"lending,omitempty"`
	Print   string                 `json:"print"`
	At      time.Time              `json:"at"`
}

// rest is what may be reloaded, and was.
type rest struct {
	config  *config.Config
	prompts map[chat.Group]string
}

// live is the configuration with what was reloaded, for what a session is given.
// Everything else of the daemon goes by that of the start, which has the same rights.
func (d *Daemon) live() (*config.Config, map[chat.Group]string) {
	if r := d.policy.rest.Load(); r != nil {
		return r.config, r.prompts
	}
	return d.config, d.machine.Prompts
}

// assistant is how the assistant is called now.
func (d *Daemon) assistant() string {
	c, _ := d.live()
	return c.Assistant.Name
}

// newAccepted makes what is remembered of a configuration.
func newAccepted(c *config.Config, texts map[chat.Group]string, lending *config.MountAllowlist, print string, salt []byte) (*accepted, error) {
	canonical, err := config.Canonical(c, salt)
	if err != nil {
		return nil, err
	}
	a := &accepted{Salt: salt, Config: canonical, Lending: lending, Print: print, At: time.Now().UTC()}
	for g, text := range texts {
		if a.Prompts == nil {
			a.Prompts = map[chat.Group]string{}
		}
		mac := hmac.New(sha256.New, salt)
		mac.Write([]byte("nanoclaw prompt v1\n" + text))
		a.Prompts[g] = hex.EncodeToString(mac.Sum(nil))
	}
	return a, nil
}

// planTo says what another configuration means beside an accepted one.
func (d *Daemon) planTo(a *accepted, c *config.Config, texts map[chat.Group]string, lending *config.MountAllowlist) (plan.Plan, *accepted, error) {
	next, err := newAccepted(c, texts, lending, "", a.Salt)
	if err != nil {
		return plan.Plan{}, nil, err
	}
	if bytes.Equal(a.Config, next.Config) && reflect.DeepEqual(a.Lending, lending) && maps.Equal(a.Prompts, next.Prompts) {
		return plan.Plan{}, next, nil // the same, which most starts find
	}
	was, err := config.FromCanonical(a.Config)
	if err != nil {
		return plan.Plan{}, nil, fmt.Errorf("the configuration that was accepted last cannot be compared: %w", err)
	}
	is, err := config.FromCanonical(next.Config)
	if err != nil {
		return plan.Plan{}, nil, err
	}
	p := plan.Make(was, is, d.planMachine(a.Lending, was), d.planMachine(lending, is))
	bounds := config.MountAllowlistChanges(a.Lending, lending)
	p.Changes, p.Security = append(bounds, p.Changes...), p.Security || len(bounds) > 0
	for _, g := range slices.Sorted(maps.Keys(next.Prompts)) {
		if old, ok := a.Prompts[g]; ok && old != next.Prompts[g] {
			p.Changes = append(p.Changes, config.Change{
				Field: config.Path{"groups", string(g), "promptFile"}, Groups: []string{string(g)}, Sense: config.Turns,
				Was: "the text of " + was.Groups[string(g)].PromptFile, Is: "another text",
			})
		}
	}
	return p, next, nil
}

// planNow says what the files mean as they are now. The caller holds policy.mu.
func (d *Daemon) planNow() (plan.Plan, error) {
	c, _, read, err := d.readConfig()
	if err != nil {
		return plan.Plan{}, err
	}
	lending, _, _ := config.ReadMountAllowlist(d.opt.Paths.ConfigDir) // one that cannot be read is said in the list
	p, _, err := d.planTo(d.policy.accepted, c, read.texts, lending)
	return p, err
}

// readConfig reads the configuration and its prompts as they are now.
func (d *Daemon) readConfig() (*config.Config, config.Fingerprint, promptsRead, error) {
	c, print, err := config.Load(d.opt.Paths.Config, d.configOptions())
	if err != nil {
		return nil, print, promptsRead{}, err
	}
	d.inheritNow(c)
	read, err := prompts(d.opt.Paths, c)
	return c, print, read, err
}

// onlyRest says that no file but the configuration and prompts changed. The caller
// holds policy.mu.
func (d *Daemon) onlyRest() bool {
	if d.policy.unasked != "" {
		return false
	}
	return !slices.ContainsFunc(d.policy.files[1:], func(f policyFile) bool { return !f.rest && f.differs() != nil })
}

// remembered reads what was accepted last; nil if nothing was, or if an older or
// newer version wrote it so that it cannot be read.
func (d *Daemon) remembered(ctx context.Context) (*accepted, error) {
	text, err := d.store.Meta(ctx, d.ofNode(acceptedKey))
	if err != nil || text == "" {
		return nil, err
	}
	var a accepted
	if err := json.Unmarshal([]byte(text), &a); err != nil || len(a.Salt) == 0 {
		d.log.Warn("what is remembered of the accepted configuration cannot be read", "err", err)
		return nil, nil
	}
	return &a, nil
}

// openPolicy finds what this process compares the files with. Until a start accepts
// it, that is what was accepted last.
func (d *Daemon) openPolicy(ctx context.Context) error {
	a, err := d.remembered(ctx)
	if err != nil {
		return err
	}
	if a == nil {
		salt := make([]byte, 16)
		rand.Read(salt)
		if a, err = newAccepted(d.config, d.machine.Prompts, d.lending.list, d.policy.files[0].was.String(), salt); err != nil {
			return err
		}
	}
	d.policy.accepted = a
	return nil
}

// acceptStart takes the start as the owner's yes to the configuration, and says what
// that meant. A process that was not asked to end is followed by a start that
// nobody asked for: then a change that touches security is not accepted, and runs
// are held until the owner restarts.
func (d *Daemon) acceptStart(ctx context.Context) error {
	d.policy.mu.Lock()
	defer d.policy.mu.Unlock()
	broken, err := d.store.Meta(ctx, d.ofNode(runningKey))
	if err != nil {
		return err
	}
	p, next, err := d.planTo(d.policy.accepted, d.config, d.machine.Prompts, d.lending.list)
	if err != nil {
		d.log.Warn("the change of the configuration since the last start cannot be told", "err", err)
		d.tellOwner(ctx, d.policyKey()+":untold", "nanoclaw started with a configuration that cannot be compared with the one before: "+err.Error())
		if next, err = newAccepted(d.config, d.machine.Prompts, d.lending.list, "", d.policy.accepted.Salt); err != nil {
			return err
		}
	}
	if p.Security && broken != "" {
		d.policy.unasked = "nanoclaw ended without being asked to, and the configuration is not the one that you accepted, so new runs wait. Restart nanoclaw to accept it:\n" + p.String()
		d.holdRuns(ctx, nil, d.policy.unasked)
		return d.store.SetMeta(ctx, d.ofNode(runningKey), runs)
	}
	if !p.None() {
		d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ConfigAccepted, Data: audit.ConfigAcceptedData{
			By: "restart", Was: d.policy.accepted.Print, Is: d.policy.files[0].was.String(), Plan: p,
		}})
		d.tellOwner(ctx, d.policyKey()+":accepted", "With this start the changed configuration holds.\n"+p.String())
	}
	if err := d.accept(ctx, next); err != nil {
		return err
	}
	return d.store.SetMeta(ctx, d.ofNode(runningKey), runs)
}

// accept remembers a configuration. The caller holds policy.mu.
func (d *Daemon) accept(ctx context.Context, next *accepted) error {
	next.Print = d.policy.files[0].was.String()
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := d.store.SetMeta(ctx, d.ofNode(acceptedKey), string(text)); err != nil {
		return err
	}
	d.policy.accepted = next
	return nil
}

// ended notes that this process ended as it was asked to.
func (d *Daemon) ended(ctx context.Context) {
	if err := d.store.SetMeta(ctx, d.ofNode(runningKey), ""); err != nil {
		d.log.Error("the end could not be noted: the next start will not accept a changed configuration", "err", err)
	}
}

// ConfigPlan says what the files mean as they are now, beside what was accepted last.
func (d *Daemon) ConfigPlan(context.Context) (control.ConfigPlan, error) {
	d.policy.mu.Lock()
	defer d.policy.mu.Unlock()
	p, err := d.planNow()
	if err != nil {
		return control.ConfigPlan{}, &control.Error{Code: control.CodeFailed, Message: err.Error(), Hint: "mend it or put it back"}
	}
	return told(p)
}

// told is a plan as the control socket has it.
func told(p plan.Plan) (control.ConfigPlan, error) {
	value, err := json.Marshal(p)
	return control.ConfigPlan{None: p.None(), Security: p.Security, Text: p.String(), Plan: value}, err
}

// ConfigReload accepts a change that touches no right, and refuses any other. What
// it takes up is named by config.Config.WithRest and nothing else.
func (d *Daemon) ConfigReload(ctx context.Context) (control.ConfigPlan, error) {
	d.acted(ctx, "config reload", "")
	d.policy.mu.Lock()
	defer d.policy.mu.Unlock()
	refuse := func(text, hint string) (control.ConfigPlan, error) {
		return control.ConfigPlan{}, &control.Error{Code: control.CodeRefused, Message: text, Hint: hint}
	}
	c, print, read, err := d.readConfig()
	if err != nil {
		return control.ConfigPlan{}, &control.Error{Code: control.CodeFailed, Message: err.Error(), Hint: "mend it or put it back"}
	}
	p, next, err := d.planTo(d.policy.accepted, c, read.texts, d.lending.list)
	switch {
	case err != nil:
		return control.ConfigPlan{}, err
	case p.Security || d.policy.unasked != "":
		return refuse("The change touches security, so only a restart accepts it.\n"+p.String(), "restart nanoclaw, or put the file back")
	case !d.onlyRest():
		return refuse("Other files changed too: "+strings.Join(d.differences(), "; "), "put them back")
	}
	changed := d.config.WithRest(c)
	d.fingerprint(print, read)
	d.policy.rest.Store(&rest{changed, read.texts})
	d.router.Rename(changed.Assistant.Name)
	if err := d.accept(ctx, next); err != nil {
		return control.ConfigPlan{}, err
	}
	d.record(ctx, audit.Entry{At: time.Now(), Kind: audit.ConfigAccepted, Data: audit.ConfigAcceptedData{
		By: "reload", Is: print.String(), Plan: p,
	}})
	d.releaseRuns(ctx, "You reloaded the configuration, so runs go on.")
	return told(p)
}
