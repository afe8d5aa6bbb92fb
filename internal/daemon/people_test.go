package daemon

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nanoclaw/internal/agent/agenttest"
	"nanoclaw/internal/approval"
	"nanoclaw/internal/audit"
	"nanoclaw/internal/authority"
	"nanoclaw/internal/chat"
	"nanoclaw/internal/control"
	"nanoclaw/internal/router"
)

// peopleConfig has main and two groups on the network: the owner is "me" there,
// ann an admin of family, bob listed.
const peopleConfig = `{
	"version": 1,
	"hostMode": {"enabled": true},
	"agent": {"kind": "shell"},
	"people": {"net:me": {"role": "owner"}, "net:ann": {"name": "Ann", "role": "admin", "groups": ["family"]}},
	"groups": {
		"main": {"mode": "host", "hostModeAllowed": true, "chats": ["net:self"]},
		"family": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["net:fam"], "senders": ["net:bob"], "trigger": "always"},
		"work": {"mode": "host", "hostModeAllowed": true, "confirm": "never", "chats": ["net:work"], "trigger": "always"},
	},
}`

// runOn runs a daemon with a network until the test ends or stop is called.
func runOn(t *testing.T, i *install, n *chatNet) (d *Daemon, stop func()) {
	t.Helper()
	d = i.open()
	d.channels[n.ID()] = n
	return d, i.serve(d)
}

var codePattern = regexp.MustCompile(`(?:approve|pair) ([0-9a-z]{4}-[0-9a-z]{4})`)

// codeIn finds the code that a text asks for.
func codeIn(t *testing.T, text string) string {
	t.Helper()
	m := codePattern.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no code in %q", text)
	}
	return m[1]
}

// TestUnknownSenders: nobody speaks whom the owner did not let in; the owner is
// asked once, without their words, and a yes counts only elsewhere.
func TestUnknownSenders(t *testing.T) {
	i, n := newInstall(t, peopleConfig), newChatNet()
	d, stop := runOn(t, i, n)
	n.says(t, "fam", "eve", "touch stolen; echo canary-of-eve")
	n.says(t, "fam", "eve", "touch stolen; echo canary-of-eve again")
	question := n.heard(t, "self", "Somebody new wants to speak in family", 0)
	for _, want := range []string{"net:eve", "I am eve", "net:fam", "another chat of the owner"} {
		if !strings.Contains(question, want) {
			t.Errorf("%q is not in the question:\n%s", want, question)
		}
	}
	code := codeIn(t, question)

	// Whoever else says yes, and wherever it is no second chat, counts for nothing.
	n.says(t, "fam", "eve", "approve "+code)
	n.says(t, "fam", "bob", "approve "+code)
	n.says(t, "fam", "ann", "approve "+code)
	n.says(t, "fam", "me", "approve "+code)
	n.heard(t, "fam", "say it in the terminal or in another chat of yours", 0)
	if open := d.desk.Open(); len(open) != 1 || open[0].Code != code {
		t.Fatalf("open: %+v", open)
	}
	n.says(t, "self", "me", "approve "+code)
	n.heard(t, "self", "approved (allow)", 0)
	n.says(t, "fam", "eve", "ls; echo done by eve")
	if text := n.heard(t, "fam", "done by eve", 0); strings.Contains(text, "stolen") {
		t.Error("what was refused ran later")
	}
	stop()

	n2 := newChatNet()
	d, _ = runOn(t, i, n2)
	n2.says(t, "fam", "eve", "echo after a restart")
	n2.heard(t, "fam", "after a restart", 0)
	n2.says(t, "work", "eve", "echo in another group")
	n2.heard(t, "self", "Somebody new wants to speak in work", 0)
	p, err := d.PeopleAct(t.Context(), control.PeopleAct{Act: control.PersonRemove, Group: "family", Sender: "net:eve"})
	must(t, err)
	if p.State != control.PersonUnknown {
		t.Errorf("removed: %+v", p)
	}
	n2.says(t, "fam", "eve", "echo once more")
	question = n2.heard(t, "self", "Somebody new wants to speak in family", 0)
	if n2.count("fam", "once more") > 0 {
		t.Error("who was removed still speaks")
	}

	// A no holds: nobody is asked again, no code helps, and a listed one is out too.
	n2.says(t, "self", "me", "deny "+codeIn(t, question))
	n2.heard(t, "self", "denied: Somebody new wants to speak in family", 0)
	pairing, err := d.Pair(t.Context(), control.PairRequest{Group: "family"})
	must(t, err)
	n2.says(t, "fam", "eve", "pair "+pairing.Code)
	_, err = d.PeopleAct(t.Context(), control.PeopleAct{Act: control.PersonDeny, Group: "family", Sender: "net:bob"})
	must(t, err)
	n2.says(t, "fam", "bob", "echo bob is here")
	n2.says(t, "fam", "ann", "echo the end")
	n2.heard(t, "fam", "the end", 0)
	if got := n2.count("self", "Somebody new wants to speak in family"); got != 2 { // the question, and its end
		t.Errorf("the owner heard %d times of it:\n%s", got, strings.Join(n2.all("self"), "\n"))
	}
	if n2.count("fam", "bob is here") > 0 || n2.count("fam", "You may speak") > 0 {
		t.Errorf("a no does not hold:\n%s", strings.Join(n2.all("fam"), "\n"))
	}
	for _, text := range append(n.all(""), n2.all("")...) {
		if strings.Contains(text, "canary-of-eve") {
			t.Errorf("the words of a refused sender went out: %q", text)
		}
	}
}

// TestFloodOfStrangers costs the owner a few questions and a word about the rest.
func TestFloodOfStrangers(t *testing.T) {
	n := newChatNet()
	d, _ := runOn(t, newInstall(t, peopleConfig), n)
	for k := range 20 {
		n.says(t, "fam", fmt.Sprint("eve", k), "hello")
		n.says(t, "fam", fmt.Sprint("eve", k), "hello?")
	}
	if open := d.desk.Open(); len(open) != askPerHour {
		t.Errorf("%d questions", len(open))
	}
	people, err := d.People(t.Context())
	must(t, err)
	asked := slices.DeleteFunc(people, func(p control.Person) bool { return p.State != control.PersonAsked })
	if len(asked) != askPerHour {
		t.Errorf("asked about: %+v", asked)
	}
	d.people.mu.Lock()
	d.people.hour = d.people.hour.Add(-time.Hour) // it goes by
	d.people.mu.Unlock()
	n.says(t, "fam", "eve19", "hello again")
	n.says(t, "work", "mallory", "one too many at once")
	if open := d.desk.Open(); len(open) != askSenderOpen {
		t.Errorf("%d questions", len(open))
	}
	text := notice(t, d, chat.Main, "More unknown senders write than I ask you about")
	if !strings.Contains(text, "in family") {
		t.Errorf("%q", text)
	}
	notice(t, d, chat.Main, "In the last hour I kept back questions about 17 other unknown senders.")
	for range 5 { // wrong codes end every question, and that is no word about anybody
		n.says(t, "self", "me", "deny 0000-0000")
	}
	people, err = d.People(t.Context())
	must(t, err)
	if open := d.desk.Open(); len(open) != 0 || slices.ContainsFunc(people, func(p control.Person) bool { return p.State == control.PersonDenied }) {
		t.Errorf("after wrong codes: %d questions, %+v", len(open), people)
	}
	if got := len(n.all("fam")); got != 0 {
		t.Errorf("strangers were answered: %q", n.all("fam"))
	}
}

// TestPairing: whoever gives the owner's code speaks from then on, once; guesses
// end it. A restart ends no code and frees no guesser.
func TestPairing(t *testing.T) {
	n, i := newChatNet(), newInstall(t, peopleConfig)
	d, stop := runOn(t, i, n)
	p, err := d.Pair(t.Context(), control.PairRequest{Group: "family"})
	must(t, err)
	n.says(t, "work", "eve", "pair "+p.Code) // a code is of a group
	n.says(t, "fam", "eve", "pair 0000-0000")
	n.heard(t, "fam", "This pairing code is not good", 0)
	n.says(t, "fam", "eve", "@Andy Pair "+strings.ToUpper(p.Code))
	n.heard(t, "fam", "You may speak here now.", 0)
	n.says(t, "fam", "eve", "echo paired")
	n.heard(t, "fam", "paired", n.mark()-1)
	n.says(t, "fam", "mallory", "pair "+p.Code) // and good once
	n.heard(t, "self", "net:mallory", 0)

	p, err = d.Pair(t.Context(), control.PairRequest{Group: "family"})
	must(t, err)
	for k := range maxPairWrong {
		if k == maxPairWrong-1 {
			stop()
			n = newChatNet()
			d, stop = runOn(t, i, n)
		}
		n.says(t, "fam", "zoe", fmt.Sprintf("pair 1111-111%d", k))
	}
	n.heard(t, "fam", "There were too many wrong ones", 0)
	n.says(t, "fam", "joe", "pair "+p.Code)
	p, err = d.Pair(t.Context(), control.PairRequest{Group: "family"})
	must(t, err)
	stop()
	old := n
	n = newChatNet()
	d, _ = runOn(t, i, n)
	n.says(t, "fam", "zoe", "pair "+p.Code) // right, and too late for them
	n.says(t, "fam", "kim", "pair "+p.Code)
	n.says(t, "fam", "kim", "echo the last")
	n.heard(t, "fam", "the last", 0)
	if got := n.count("fam", "You may speak here now.") + old.count("fam", "You may speak here now."); got != 1 {
		t.Errorf("after the first %d were let in:\n%s", got, strings.Join(n.all("fam"), "\n"))
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: "pairing"})
	must(t, err)
	var states []string
	for _, e := range entries {
		var data struct{ State string }
		must(t, json.Unmarshal(e.Data, &data))
		states = append(states, data.State)
		if strings.Contains(string(e.Data), p.Code) {
			t.Errorf("a code is in the record: %s", e.Data)
		}
	}
	if got, want := strings.Join(states, " "), "made wrong used made wrong wrong wrong wrong locked made used"; got != want {
		t.Errorf("recorded: %s\nwant: %s", got, want)
	}
	if _, err := d.Pair(t.Context(), control.PairRequest{Group: chat.Main}); code(err) != control.CodeUsage {
		t.Errorf("a code for main: %v", err)
	}
}

// TestPairingIsTakenUp: a code that a stranger gave is followed to its end by the next
// process, wherever the one before ended, and counts once.
func TestPairingIsTakenUp(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		before     func(t *testing.T, d *Daemon, in chat.Inbound, v router.Verdict)
	}{
		{"it was stored", "", func(*testing.T, *Daemon, chat.Inbound, router.Verdict) {}},
		{"it was used up", "", func(t *testing.T, d *Daemon, _ chat.Inbound, v router.Verdict) {
			must(t, d.changePairs(t.Context(), func(p *pairings) []audit.Entry {
				p.tryFor(v.Row, v.Pairing, v.Group, v.Who.Sender, time.Now())
				return nil
			}))
		}},
		{"it was done", "", func(t *testing.T, d *Daemon, in chat.Inbound, v router.Verdict) { d.pair(t.Context(), in, v) }},
		{"a wrong one was counted", "pair 0000-0000", func(t *testing.T, d *Daemon, in chat.Inbound, v router.Verdict) { d.pair(t.Context(), in, v) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstall(t, peopleConfig)
			d := i.open()
			p, err := d.Pair(t.Context(), control.PairRequest{Group: "family"})
			must(t, err)
			in := chat.Inbound{From: chat.Address{Channel: "net", Chat: "fam"}, ID: "e1", Sender: chat.Sender{ID: "eve"}, Text: cmp.Or(tt.text, "pair "+p.Code), Sent: time.Now()}
			v := d.router.Rules().Decide(in)
			got, err := d.store.Accept(t.Context(), in, v, 10, 10)
			must(t, err)
			v.Row = got.Row
			tt.before(t, d, in, v)
			must(t, d.Close())
			n := newChatNet()
			d, stop := runOn(t, i, n)
			want, wrong := "You may speak here now.", 0
			if tt.text != "" {
				want, wrong = "This pairing code is not good", 1
			}
			n.heard(t, "fam", want, 0)
			d.people.pairs.mu.Lock()
			if now := d.people.pairs.now; now.Wrong["family"] != wrong || len(now.Codes) != wrong {
				t.Errorf("%d wrong codes are counted, and %d are open", now.Wrong["family"], len(now.Codes))
			}
			d.people.pairs.mu.Unlock()
			if tt.text == "" {
				n.says(t, "fam", "eve", "echo let in")
				n.heard(t, "fam", "let in", 0)
			}
			stop()
			d = i.open()
			defer d.Close()
			if got := n.count("fam", want); got != 1 {
				t.Errorf("it was said %d times", got)
			}
			if f, err := d.store.Fate(t.Context(), in.From, in.ID); err != nil || f.State != "done" {
				t.Errorf("the message is %+v, %v", f, err)
			}
			entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: "pairing"})
			must(t, err)
			if len(entries) != 2 && tt.name != "it was used up" { // made, and tried
				t.Errorf("recorded: %+v", entries)
			}
		})
	}
}

func TestPairingsEnd(t *testing.T) {
	var p pairings
	now := time.Now()
	p.add("a", pairing{Group: "family", Until: now.Add(pairTime)}, now)
	if _, state := p.try("a", "family", "x", now.Add(pairTime)); state != pairSilent {
		t.Errorf("after its time: %q", state)
	}
	for k := range maxPairs + 1 {
		if ok := p.add(fmt.Sprint("c", k), pairing{Group: "family", Until: now.Add(pairTime)}, now); ok != (k < maxPairs) {
			t.Errorf("code %d: %v", k, ok)
		}
	}
	for k := range maxPairWrong {
		want := pairWrong
		if k == maxPairWrong-1 {
			want = pairLocked
		}
		if _, state := p.try("b", "family", fmt.Sprint(k), now); state != want { // of several senders
			t.Errorf("wrong code %d: %q", k, state)
		}
	}
	if _, state := p.try("c1", "family", "x", now); state != pairSilent {
		t.Errorf("a code of a locked group: %q", state)
	}
}

// TestWhatWaitsIsRefused: what somebody wrote while they could speak reaches no
// agent once they cannot.
func TestWhatWaitsIsRefused(t *testing.T) {
	n := newChatNet()
	d, _ := runOn(t, newInstall(t, peopleConfig), n)
	must(t, d.Pause(t.Context(), control.PauseRequest{Group: "family"}))
	n.says(t, "fam", "bob", "echo canary-of-bob")
	n.says(t, "fam", "ann", "echo this is ann")
	_, err := d.PeopleAct(t.Context(), control.PeopleAct{Act: control.PersonDeny, Group: "family", Sender: "net:bob"})
	must(t, err)
	must(t, d.Resume(t.Context(), control.PauseRequest{Group: "family"}))
	n.heard(t, "fam", "this is ann", 0)
	if n.count("fam", "canary-of-bob") > 0 {
		t.Error("what waited ran")
	}
}

// TestChatCommands: the owner and an admin stop, pause and resume from a chat
// while a run goes on, nothing is lost, and nobody else does.
func TestChatCommands(t *testing.T) {
	n := newChatNet()
	d, _ := runOn(t, newInstall(t, peopleConfig), n)
	_, term := begun(t, d, "family", "echo at work; sleep 600")
	defer term.Close()
	running := func() chat.RunID {
		t.Helper()
		runs, err := d.Runs(t.Context(), control.RunsQuery{Group: "family", Live: true})
		must(t, err)
		if len(runs) != 1 {
			t.Fatalf("%d runs go on", len(runs))
		}
		return runs[0].ID
	}
	first := running()
	n.says(t, "fam", "bob", "echo second")
	for range 2 {
		n.says(t, "fam", "bob", "/stop")
	}
	n.says(t, "fam", "eve", "/stop")
	n.heard(t, "fam", "Refused: only the owner and admins of this group may stop runs of this group.", 0)
	n.says(t, "fam", "ann", "/stop work")
	n.heard(t, "fam", "only the owner may stop runs of another group", 0)
	n.says(t, "fam", "ann", "/stop all")
	n.heard(t, "fam", "only the owner may stop all runs", 0)
	n.says(t, "fam", "ann", "/stop it, please")
	n.heard(t, "fam", "not understood", 0)
	if got := running(); got != first {
		t.Fatalf("%s was stopped", first)
	}
	n.says(t, "fam", "ann", "@Andy /STOP "+string(first))
	n.heard(t, "fam", "Stopped "+string(first)+". Messages wait in family", 0)
	n.says(t, "fam", "ann", "/status")
	n.heard(t, "fam", "family: paused by", 0)
	mark := n.mark()
	n.says(t, "fam", "me", "/resume")
	n.heard(t, "fam", "Resumed family.", mark)
	n.heard(t, "fam", "second", mark)

	n.says(t, "self", "me", "/pause all")
	n.heard(t, "self", "Paused all", mark)
	n.says(t, "fam", "bob", "echo third")
	n.heard(t, "fam", "This assistant is paused. Your message waits", mark)
	n.says(t, "fam", "ann", "/resume")
	n.heard(t, "fam", "family is not paused", mark)
	n.says(t, "self", "me", "/status all")
	n.heard(t, "self", "work: paused by the owner", mark)
	n.says(t, "self", "me", "/resume all")
	n.heard(t, "fam", "third", mark)
	if got := n.count("fam", "Refused: "); got != 1 {
		t.Errorf("a member was refused %d times in words", got)
	}
	if got := n.count("fam", "eve"); got != 0 {
		t.Errorf("a stranger was answered:\n%s", strings.Join(n.all("fam"), "\n"))
	}
	a := ask(t, d, chat.Main, "/status")
	if a.State != control.Taken || !strings.Contains(a.text(), "main: nothing to do") {
		t.Errorf("in the terminal: %+v %q", a.Answer, a.text())
	}
	if a := ask(t, d, chat.Main, "/stop nobody"); a.State != "failed" || !strings.Contains(a.Reason, "there is no group or run nobody") {
		t.Errorf("a mistake in the terminal: %+v", a.Answer)
	}
	entries, err := d.AuditList(t.Context(), control.AuditQuery{Kind: "owner.acted"})
	must(t, err)
	var by []string
	for _, e := range entries {
		var data struct{ Act, Target, By, Role string }
		must(t, json.Unmarshal(e.Data, &data))
		by = append(by, strings.Join([]string{data.Act, data.Target, data.By, data.Role}, " "))
	}
	for _, want := range []string{"stop " + string(first) + " net:ann admin", "resume family net:me owner", "pause all net:me owner"} {
		if !slices.Contains(by, want) {
			t.Errorf("%q is not in the record:\n%s", want, strings.Join(by, "\n"))
		}
	}
}

// TestWhatIsForTheHostReachesNoPrompt looks at everything that real Claude Code
// sent to its model: no code, no command, and no word of whom nobody let in.
func TestWhatIsForTheHostReachesNoPrompt(t *testing.T) {
	m := agenttest.NewModel(agenttest.Puppet)
	t.Cleanup(m.Close)
	text := strings.Replace(peopleConfig, `"agent": {"kind": "shell"}`, fmt.Sprintf(`"agent": {"kind": "claude", "claude": {"path": %q}}`, agenttest.Claude(t)), 1)
	i, n := newInstall(t, strings.Replace(text, `"trigger": "always"`, `"trigger": "mention"`, 1)), newChatNet()
	i.env["ANTHROPIC_BASE_URL"], i.env["ANTHROPIC_API_KEY"] = m.URL, modelKey
	d, _ := runOn(t, i, n)
	p, err := d.Pair(t.Context(), control.PairRequest{Group: "family"})
	must(t, err)
	n.says(t, "fam", "bob", "dinner at eight?") // context
	n.says(t, "fam", "eve", "@Andy canary-of-eve")
	n.says(t, "fam", "eve", "canary-of-eve, calling nobody")
	n.says(t, "fam", "bob", "/stop canary-stop")
	n.says(t, "fam", "ann", "/status canary-status")
	n.says(t, "fam", "bob", "approve k4m2-9x7a")
	n.says(t, "fam", "ann", "deny k4m2-9x7b")
	n.says(t, "fam", "bob", "pair k4m2-9x7c")
	n.says(t, "fam", "eve", "pair "+p.Code)
	n.heard(t, "fam", "You may speak here now.", 0)
	n.says(t, "fam", "eve", "@Andy say: eve was let in")
	n.heard(t, "fam", "eve was let in", 0)
	var all strings.Builder
	for _, r := range m.Requests() {
		all.Write(r.Body)
	}
	if !strings.Contains(all.String(), "dinner at eight?") {
		t.Error("what was said before is not in the prompt: this test looks at nothing")
	}
	for _, secret := range []string{"canary-of-eve", "canary-stop", "canary-status", "k4m2", p.Code, "/stop"} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%q came into a prompt", secret)
		}
	}
}

// An admin answers what is open to admins in their own group, and nothing else.
func TestWhoAnswers(t *testing.T) {
	n := newChatNet()
	d, _ := runOn(t, newInstall(t, peopleConfig), n)
	for _, tt := range []struct {
		name, in, sender string
		owner            bool
		group            chat.Group
		want             approval.Role
	}{
		{"the owner by identity", "fam", "me", false, "family", approval.Owner},
		{"the owner by the connection", "fam", "x", true, "work", approval.Owner},
		{"an admin", "fam", "ann", false, "family", approval.Admin},
		{"an admin about another group", "fam", "ann", false, "work", approval.Nobody},
		{"an admin about main", "fam", "ann", false, "main", approval.Nobody},
		{"an admin in another group's chat", "work", "ann", false, "family", approval.Nobody},
		{"an admin in no group's chat", "elsewhere", "ann", false, "family", approval.Nobody},
		{"a member", "fam", "bob", false, "family", approval.Nobody},
		{"a stranger", "fam", "eve", false, "family", approval.Nobody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			by := approval.Who{From: chat.Address{Channel: "net", Chat: chat.ChatID(tt.in)}, Sender: chat.Sender{ID: chat.SenderID(tt.sender), Owner: tt.owner}}
			if got := d.answerRole(by, tt.group); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := d.answerRole(atTheSocket(), "family"); got != approval.Owner {
		t.Errorf("the command line is %q", got)
	}
	if authority.Decide(authority.ApproveGrowing, authority.Actor{Surface: authority.Chat, Role: authority.Admin, Group: "family"}).Outcome != authority.Deny {
		t.Error("an admin grows rights")
	}
}
