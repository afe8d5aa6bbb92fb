package chaostest

import (
	"testing"

	"nanoclaw/internal/agent/agenttest"
)

// A prompt that was answered already, and is given once more before the one to answer
// now, is not answered again, and nothing waits for its sake.
func TestAnswersTheLastPrompt(t *testing.T) {
	j := newJudge()
	first, second := j.write(talk), j.write(talk)
	prompt := "<messages>\n<message>please wait " + first.String() + "</message>\n</messages>"
	model := newThinker(j)
	defer model.Close()
	held, _ := model.expect()
	got := model.answer(agenttest.Request{UserText: prompt + prompt + "<messages>\n<message>" + second.String() + "</message>\n</messages>"})
	if want := "Answered: " + second.String(); got.Text != want {
		t.Errorf("the answer is %q, want %q", got.Text, want)
	}
	select {
	case <-held:
		t.Error("it waits, since a former prompt asked for that")
	default:
	}
}
