package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Lines of Claude Code 2.1.330, as they were recorded but for fields that say
// nothing of the failure, and the class that each is of.
func TestClasses(t *testing.T) {
	tests := []struct {
		name, line string
		want       Class
	}{
		{"credential", `{"api_error_status":401,"api_error_type":"authentication_error","is_error":true,"result":"Invalid API key · Fix external API key","subtype":"success","terminal_reason":"api_error"}`, ClassCredential},
		{"expired", `{"api_error_status":401,"api_error_type":"authentication_error","is_error":true,"result":"Failed to authenticate. API Error: 401 OAuth token has expired.","subtype":"success","terminal_reason":"api_error"}`, ClassExpired},
		{"expired, by the gateway", `{"api_error_status":403,"is_error":true,"result":"API Error: 403 nanoclaw: the model's endpoint does not accept the credential; it ended at 2026-01-01 00:00:00. The owner has to log in again","subtype":"success","terminal_reason":"api_error"}`, ClassExpired},
		{"no permission", `{"api_error_status":403,"api_error_type":"permission_error","is_error":true,"result":"Failed to authenticate. API Error: 403 Your API key does not have permission to use the specified resource","subtype":"success","terminal_reason":"api_error"}`, ClassCredential},
		{"not logged in", `{"api_error_status":null,"is_error":true,"result":"Not logged in · Please run /login","subtype":"success","terminal_reason":"completed"}`, ClassCredential},
		{"payment", `{"api_error_status":402,"api_error_type":"billing_error","is_error":true,"result":"API Error: 402 pay up","subtype":"success","terminal_reason":"api_error"}`, ClassBilling},
		{"credit", `{"api_error_status":400,"api_error_type":"invalid_request_error","is_error":true,"result":"Credit balance is too low","subtype":"success","terminal_reason":"api_error"}`, ClassBilling},
		{"no such model", `{"api_error_status":404,"api_error_type":"not_found_error","is_error":true,"result":"There's an issue with the selected model (x). It may not exist or you may not have access to it. Run --model to pick a different model.","subtype":"success","terminal_reason":"api_error"}`, ClassModel},
		{"too large", `{"api_error_status":413,"api_error_type":"request_too_large","is_error":true,"result":"Request too large (max 32MB). Accumulated images and attachments in the conversation pushed the request over the limit.","subtype":"success","terminal_reason":"image_error"}`, ClassTooLong},
		{"too long", `{"api_error_status":400,"api_error_type":"invalid_request_error","is_error":true,"result":"Prompt is too long","subtype":"success","terminal_reason":"prompt_too_long"}`, ClassTooLong},
		{"too many", `{"api_error_status":429,"api_error_type":"rate_limit_error","is_error":true,"result":"API Error: Request rejected (429) · This request would exceed your account's rate limit. Please try again later.","subtype":"success","terminal_reason":"api_error"}`, ClassRateLimit},
		{"usage limit", `{"is_error":true,"result":"Claude AI usage limit reached|1795400000","subtype":"success"}`, ClassRateLimit},
		{"broken", `{"api_error_status":500,"api_error_type":"api_error","is_error":true,"result":"API Error: 500 Internal server error. This is a server-side issue, usually temporary — try again in a moment.","subtype":"success","terminal_reason":"api_error"}`, ClassOverloaded},
		{"overloaded", `{"api_error_status":529,"api_error_type":"overloaded_error","is_error":true,"result":"API Error: 529 Overloaded.","subtype":"success","terminal_reason":"api_error"}`, ClassOverloaded},
		{"unknown session", `{"errors":["No conversation found with session ID: 11111111-2222-4333-8444-555555555555"],"is_error":true,"subtype":"error_during_execution"}`, ClassSession},
		{"session in use", `{"errors":["Session ID 1 is already in use."],"is_error":true,"subtype":"error_during_execution"}`, ClassSession},
		{"rounds", `{"is_error":true,"subtype":"error_max_turns","terminal_reason":"max_turns","errors":["Reached maximum number of turns (7)"]}`, ClassLimit},
		{"start", `{"is_error":true,"subtype":"error_during_execution","startup_failure_reason":"sandbox_required_unavailable","errors":[]}`, ClassStart},
		{"bad request", `{"api_error_status":400,"api_error_type":"invalid_request_error","is_error":true,"result":"API Error: 400 no","subtype":"success","terminal_reason":"api_error"}`, ClassAPI},
		{"refused by the gateway", `{"api_error_status":403,"api_error_type":"permission_error","is_error":true,"result":"Failed to authenticate. API Error: 403 nanoclaw: the request names a server tool","subtype":"success","terminal_reason":"api_error"}`, ClassAPI},
		{"no credential at the gateway", `{"api_error_status":403,"is_error":true,"result":"API Error: 403 nanoclaw: no model is configured: the owner sets one","subtype":"success","terminal_reason":"api_error"}`, ClassCredential},
		{"no network", `{"api_error_status":502,"api_error_type":"api_error","is_error":true,"result":"API Error: 502 nanoclaw: the model endpoint could not be reached: no answer in time","subtype":"success","terminal_reason":"api_error"}`, ClassUnreachable},
		{"no gateway", `{"api_error_status":null,"is_error":true,"result":"API Error: Unable to connect to API (ECONNREFUSED)","subtype":"success","terminal_reason":"api_error"}`, ClassUnreachable},
		{"nobody listens", `{"api_error_status":null,"is_error":true,"result":"API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)","subtype":"success","terminal_reason":"api_error"}`, ClassUnreachable},
		{"nothing known", `{"is_error":true,"subtype":"error_during_execution"}`, ClassOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r resultLine
			if err := json.Unmarshal([]byte(tt.line), &r); err != nil {
				t.Fatal(err)
			}
			got := failed(r)
			if got.Class != tt.want || !got.Failed || got.Error == "" || got.Raw == "" {
				t.Errorf("got %+v, want class %s", got, tt.want)
			}
		})
	}
}

// Every class has a recovery, and what the host does by itself is what the
// design says.
func TestRecoveries(t *testing.T) {
	for c, want := range map[Class]Recovery{
		ClassSession: NewSession, ClassTooLong: NewSession, ClassCredential: LogIn, ClassRateLimit: Wait, ClassOverloaded: Wait,
		ClassBilling: Pay, ClassModel: ChooseModel, ClassStart: Mend, ClassUnreachable: Mend,
		ClassAPI: AskAgain, ClassLimit: AskAgain, ClassProtocol: AskAgain, ClassEnded: AskAgain, ClassDone: AskAgain, ClassOther: AskAgain,
	} {
		if got := c.Recovery(); got != want {
			t.Errorf("%s: %s, want %s", c, got, want)
		}
	}
}

// A time that comes from inside is believed only within what a limit can last.
func TestResetIn(t *testing.T) {
	soon := time.Now().Add(3 * time.Hour).Truncate(time.Second)
	for _, tt := range []struct {
		name, line string
		want       time.Time
	}{
		{"from the parameters", fmt.Sprintf(`{"api_error_params":{"rate_limit_info":{"status":"rejected","resetsAt":%d}}}`, soon.Unix()), soon},
		{"from the text", fmt.Sprintf(`{"result":"Claude AI usage limit reached|%d"}`, soon.Unix()), soon},
		{"none", `{"result":"slow down"}`, time.Time{}},
		{"in a thousand years", `{"result":"Claude AI usage limit reached|9999999999"}`, time.Time{}},
		{"negative", `{"api_error_params":{"rate_limit_info":{"resetsAt":-5}}}`, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r resultLine
			if err := json.Unmarshal([]byte(tt.line), &r); err != nil {
				t.Fatal(err)
			}
			if got := resetIn(r); !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMask(t *testing.T) {
	for give, want := range map[string]string{
		"key sk-ant-api03-abc_DEF-123456 refused":                "key [masked] refused",
		"Authorization: Bearer abcdef.ghijkl":                    "Authorization: [masked] [masked]",
		`{"x-api-key":"0123456789abc","b":1}`:                    `{"x-api-key":"[masked]","b":1}`,
		"ghp_0123456789abcdefghij and xoxb-123456789-abc":        "[masked] and [masked]",
		"password=hunter22; next":                                "password=[masked]; next",
		"eyJhbGciOiJIUzI1NiIsInR5cCI.eyJzdWIiOiIx.abc":           "[masked]",
		"nothing here: a risk-averse token of esteem, sk-short ": "nothing here: a risk-averse token of esteem, sk-short ",
	} {
		if got := Mask(give); got != want {
			t.Errorf("%q became %q, want %q", give, got, want)
		}
	}
	r := resultLine{IsError: true, Result: strings.Repeat("x", 5000) + " sk-ant-0123456789"}
	if raw := rawLine(r); len(raw) > 2000 || strings.Contains(raw, "sk-ant") {
		t.Errorf("the raw line is %q", raw)
	}
}

// What ends before it could take a turn is a failed start, and nothing else is.
func TestStarting(t *testing.T) {
	for _, tt := range []struct {
		give, want Class
	}{{ClassEnded, ClassStart}, {ClassSession, ClassSession}, {ClassProtocol, ClassProtocol}} {
		err := starting(&Error{Class: tt.give, Text: "it ended", Detail: "bad flag"})
		if e, ok := errors.AsType[*Error](err); !ok || e.Class != tt.want || !strings.Contains(err.Error(), "bad flag") {
			t.Errorf("%s became %v", tt.give, err)
		}
	}
}
