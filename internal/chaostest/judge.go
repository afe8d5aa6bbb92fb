package chaostest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"nanoclaw/internal/chat"
)

// word is the number that each message of a person carries, and its answer.
type word struct {
	room chat.ChatID
	n    int
}

func (w word) String() string { return fmt.Sprintf("m-%s-%d-e", w.room, w.n) }

var words = regexp.MustCompile(`m-([a-z0-9]+)-([0-9]+)-e`)

// wordsIn are the words of a room in a text, in their order.
func wordsIn(text string, room chat.ChatID) (out []word) {
	for _, m := range words.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(m[2]); err == nil && chat.ChatID(m[1]) == room {
			out = append(out, word{room, n})
		}
	}
	return out
}

// judge follows what people saw.
type judge struct {
	mu       sync.Mutex // guards all below
	next     map[chat.ChatID]int
	open     map[chat.ChatID][]word
	answered map[word]int // by a reply
	spoken   map[word]int // by words of the host: given up, refused
	unsure   map[word]bool
	runs     map[chat.RunID]bool
	last     map[chat.ChatID]int
	tools    map[string]int
	letIn    int // how often somebody heard that they may speak
	disorder []string
	seen     int // how much of what was shown is judged
}

func newJudge() *judge {
	return &judge{
		next: map[chat.ChatID]int{}, open: map[chat.ChatID][]word{}, answered: map[word]int{}, spoken: map[word]int{},
		unsure: map[word]bool{}, runs: map[chat.RunID]bool{}, last: map[chat.ChatID]int{}, tools: map[string]int{},
	}
}

// write gives the next word of a room.
func (j *judge) write(room chat.ChatID) word {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next[room]++
	w := word{room, j.next[room]}
	j.open[room] = append(j.open[room], w)
	return w
}

// forget says of a word that nobody knows whether it was taken: it may have an
// end, and no more than one.
func (j *judge) forget(w word) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsure[w] = true
	j.endLocked(w)
}

// waiting is how many messages of a room have no end yet.
func (j *judge) waiting(room chat.ChatID) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.open[room])
}

// look judges what was shown since the last look.
func (j *judge) look(n *Network) {
	j.mu.Lock()
	defer j.mu.Unlock()
	more, _ := n.Shown(j.seen)
	j.seen += len(more)
	for _, s := range more {
		switch {
		case s.Kind == chat.Tool:
			j.tools[s.Text]++
		case s.Kind == chat.Reply:
			j.replied(s)
		case s.To.Chat == door && strings.HasSuffix(s.Text, letIn):
			j.letIn++
			w := word{door, j.letIn}
			j.answered[w]++
			j.endLocked(w)
		case s.Failed:
			for _, w := range slices.Concat(wordsIn(s.Text, s.To.Chat), wordsIn(s.Text, scheduled)) {
				j.spoken[w]++
				j.endLocked(w)
			}
			if s.Run != "" {
				j.runs[s.Run] = true
			}
		}
	}
}

func (j *judge) replied(s Shown) {
	room := s.To.Chat
	for _, w := range wordsIn(s.Text, scheduled) { // in no order with what people write
		j.answered[w]++
		j.endLocked(w)
	}
	for _, w := range wordsIn(s.Text, room) {
		j.answered[w]++
		j.endLocked(w)
		if j.answered[w] == 1 && w.n < j.last[room] {
			j.disorder = append(j.disorder, fmt.Sprintf("%v came after number %d", w, j.last[room]))
		}
		j.last[room] = max(j.last[room], w.n)
	}
}

func (j *judge) endLocked(w word) {
	j.open[w.room] = slices.DeleteFunc(j.open[w.room], func(o word) bool { return o == w })
}

// verdict is what came of everything.
type verdict struct {
	messages, answered, spoken, refused int
	lost, doubled, reordered            []string
}

// conclude judges all of it. fate says of a message without an end in words of
// its own whether its run's end was said.
func (j *judge) conclude(fate func(word) (ended bool, what string)) (v verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v.reordered = j.disorder
	if j.letIn > j.next[door] {
		v.doubled = append(v.doubled, fmt.Sprintf("%d people were let in %d times", j.next[door], j.letIn))
	}
	for room, n := range j.next {
		for i := 1; i <= n; i++ {
			w := word{room, i}
			v.messages++
			switch a, s := j.answered[w], j.spoken[w]; {
			case a+s > 1:
				v.doubled = append(v.doubled, fmt.Sprintf("%v: %d replies, %d notices", w, a, s))
			case a == 1:
				v.answered++
			case s == 1:
				v.spoken++
			case j.unsure[w]:
				v.messages--
			default:
				if ended, what := fate(w); ended {
					v.refused++
				} else {
					v.lost = append(v.lost, fmt.Sprintf("%v: %s", w, what))
				}
			}
		}
	}
	return v
}
