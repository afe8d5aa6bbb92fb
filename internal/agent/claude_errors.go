package agent

import (
	"cmp"
	"fmt"
	"strings"
)

// failure says what class a failed result is of, and tells it in words with
// what to do. The agent's own text comes from inside: it is quoted, bounded.
func failure(r resultLine) (class, text string) {
	said := clip(strings.TrimSpace(cmp.Or(r.Result, strings.Join(r.Errors, "; "))), 500)
	class = classify(r, said)
	hint := map[string]string{
		ClassSession:    "the next message begins a new session",
		ClassCredential: "the model refused the credential: set a valid one with nanoclaw login claude, or where the present one is from",
		ClassRateLimit:  "the model's rate limit is reached: try again later",
		ClassBilling:    "the model's account cannot pay for this: check its balance",
		ClassOverloaded: "the model is overloaded: try again in a few minutes",
		ClassTooLong:    "the conversation no longer fits the model: begin a new one",
		ClassLimit:      "a limit of this session is reached",
		ClassStart:      "Claude Code could not start",
	}[class]
	switch {
	case hint == "":
		return class, "Claude Code failed: " + cmp.Or(said, "it gave no reason")
	case said == "":
		return class, hint
	}
	return class, fmt.Sprintf("%s (Claude Code says: %s)", hint, said)
}

// byStatus are HTTP status codes of the Messages API.
var byStatus = map[int]string{
	401: ClassCredential, 402: ClassBilling, 403: ClassCredential,
	413: ClassTooLong, 429: ClassRateLimit, 503: ClassOverloaded, 529: ClassOverloaded,
}

// bySubtype are the subtypes of result that name a limit.
var bySubtype = map[string]string{
	"error_max_turns": ClassLimit, "error_max_budget_usd": ClassLimit, "error_max_structured_output_retries": ClassLimit,
}

// byWords are what Claude Code 2.1.330 writes where it gives no number.
var byWords = []struct{ words, class string }{
	{"no conversation found with session id", ClassSession},
	{"is already in use", ClassSession},
	{"not logged in", ClassCredential},
	{"invalid api key", ClassCredential},
	{"credit balance", ClassBilling},
	{"prompt is too long", ClassTooLong},
	{"overloaded", ClassOverloaded},
	{"rate limit", ClassRateLimit},
}

func classify(r resultLine, said string) string {
	if c := byStatus[r.APIErrorStatus]; c != "" {
		return c
	}
	low := strings.ToLower(said)
	for _, w := range byWords {
		if strings.Contains(low, w.words) {
			return w.class
		}
	}
	if c := bySubtype[r.Subtype]; c != "" {
		return c
	}
	switch {
	case r.StartupReason != "":
		return ClassStart
	case r.APIErrorStatus != 0 || r.TerminalReason == "api_error":
		return ClassAPI
	}
	return ClassOther
}
