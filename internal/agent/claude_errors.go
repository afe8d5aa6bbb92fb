package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"nanoclaw/internal/watch"
)

// failed makes of a failed result what is told of it: its class, in words what
// to do, and for the record what Claude Code said.
func failed(r resultLine) Result {
	var out Result
	out.Failed, out.Raw, out.Retry = true, rawLine(r), resetIn(r)
	out.Class, out.Error = failure(r)
	return out
}

// starting tells of an end that came before Claude Code could take a turn.
func starting(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Class == ClassEnded {
		return &Error{Class: ClassStart, Text: hints[ClassStart] + ". " + e.Text, Detail: e.Detail}
	}
	return err
}

// failure says what class a failed result is of, and tells it in words with
// what to do. The agent's own text comes from inside: it is quoted, bounded.
func failure(r resultLine) (class Class, text string) {
	said := clip(Mask(strings.TrimSpace(cmp.Or(r.Result, strings.Join(r.Errors, "; ")))), 500)
	class = classify(r, said)
	if low := strings.ToLower(said); class == ClassCredential && (strings.Contains(low, "expired") || strings.Contains(low, "; it ended at ")) { // the latter are the gateway's words
		class = ClassExpired
	}
	hint := hints[class]
	switch {
	case hint == "":
		return class, "Claude Code failed: " + cmp.Or(said, "it gave no reason")
	case said == "":
		return class, hint
	}
	return class, fmt.Sprintf("%s (Claude Code says: %s)", hint, said)
}

// hints are what a person can do, by class.
var hints = map[Class]string{
	ClassSession:     "the agent does not know its session any more: the next message begins a new one",
	ClassTooLong:     "this does not fit the model, not even in a new session: send less at once",
	ClassCredential:  "the model refused the credential: set a valid one with nanoclaw login claude, or where the present one is from",
	ClassExpired:     "the model's credential has expired: set a valid one with nanoclaw login claude, or where the present one is from",
	ClassRateLimit:   "the model's rate limit is reached",
	ClassBilling:     "the model's account cannot pay for this: check its balance",
	ClassOverloaded:  "the model is overloaded or failing",
	ClassUnreachable: "the model cannot be reached: check this machine's network, and model.baseURL in the configuration",
	ClassModel:       "the model does not exist or this account may not use it: set another with agent.claude.model or the group's model",
	ClassLimit:       "a limit of this session is reached",
	ClassStart:       "Claude Code could not start: nanoclaw doctor looks for the cause",
}

// byStatus are HTTP status codes of the Messages API.
var byStatus = map[int]Class{
	401: ClassCredential, 402: ClassBilling, 403: ClassCredential, 404: ClassModel,
	413: ClassTooLong, 429: ClassRateLimit, 500: ClassOverloaded, 502: ClassUnreachable, 503: ClassOverloaded, 504: ClassUnreachable, 529: ClassOverloaded,
}

// bySubtype are the subtypes of result that name a limit.
var bySubtype = map[string]Class{
	"error_max_turns": ClassLimit, "error_max_budget_usd": ClassLimit, "error_max_structured_output_retries": ClassLimit,
}

// byReason are reasons for an end that say more than the status with them.
var byReason = map[string]Class{"prompt_too_long": ClassTooLong}

// byWords are what Claude Code 2.1.330 writes where it gives no number, or one
// that says less.
var byWords = []struct {
	words string
	class Class
}{
	{"nanoclaw: the model endpoint could not be reached", ClassUnreachable},
	{"nanoclaw: no model is configured", ClassCredential},
	{" does not accept the credential", ClassCredential},
	{"the model's credential could not be renewed", ClassUnreachable},
	{"nanoclaw: ", ClassAPI}, // the gateway's own refusals: nothing is wrong with the account
	{"no conversation found with session id", ClassSession},
	{"is already in use", ClassSession},
	{"not logged in", ClassCredential},
	{"invalid api key", ClassCredential},
	{"credit balance", ClassBilling},
	{"usage limit", ClassRateLimit},
	{"prompt is too long", ClassTooLong},
	{"overloaded", ClassOverloaded},
	{"rate limit", ClassRateLimit},
	{"unable to connect to api", ClassUnreachable},
	{"connection error", ClassUnreachable},
	{"(econnrefused)", ClassUnreachable},
	{"(econnreset)", ClassUnreachable},
	{"(enotfound)", ClassUnreachable},
}

func classify(r resultLine, said string) Class {
	low := strings.ToLower(said)
	for _, w := range byWords[:5] {
		if strings.Contains(low, w.words) {
			return w.class
		}
	}
	if c := cmp.Or(byReason[r.TerminalReason], byStatus[r.APIErrorStatus]); c != "" {
		return c
	}
	for _, w := range byWords[5:] {
		if strings.Contains(low, w.words) {
			return w.class
		}
	}
	switch c := bySubtype[r.Subtype]; {
	case c != "":
		return c
	case r.StartupReason != "":
		return ClassStart
	case r.APIErrorStatus != 0 || r.TerminalReason == "api_error":
		return ClassAPI
	}
	return ClassOther
}

// resetAt finds the time at which a limit of a subscription resets, in seconds
// since 1970, as Claude Code writes it behind its text.
var resetAt = regexp.MustCompile(`limit reached\|([0-9]{10})\b`)

// resetIn is when a limit resets, as far as the result says. What is said is
// bounded: nobody is told to wait longer than any limit of the API lasts.
func resetIn(r resultLine) time.Time {
	seconds := r.APIErrorParams.RateLimit.ResetsAt
	if m := resetAt.FindStringSubmatch(r.Result); m != nil && seconds == 0 {
		seconds, _ = strconv.ParseInt(m[1], 10, 64)
	}
	if seconds <= 0 || seconds > time.Now().Add(MaxRetry).Unix() {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// MaxRetry is the longest time that anybody is told to wait: the API's longest
// limit is that of a week.
const MaxRetry = 8 * 24 * time.Hour

// rawLine is what of a result is kept for the record.
func rawLine(r resultLine) string {
	r.Usage, r.MessageUUIDs = nil, nil
	r.Result, r.Errors = clip(r.Result, 1000), r.Errors[:min(len(r.Errors), 5)]
	b, _ := json.Marshal(r) // cannot fail: texts and numbers alone
	return clip(Mask(string(b)), 2000)
}

// Mask puts watch.Masked in place of what looks like a credential. It is for
// words that are kept or shown beyond the boundary. The host's own secrets are
// not among what an agent could say.
func Mask(s string) string { return watch.NewMasker().Text(s) }
