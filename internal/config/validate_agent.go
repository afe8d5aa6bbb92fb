package config

import (
	"strings"
	"unicode/utf8"
)

// maxPrompt bounds a group's own prompt, in bytes. It goes to the model with
// every request.
const maxPrompt = 64 << 10

// thinking checks what becomes flags of the agent.
func (v *validator) thinking(field Path, model, fallback, effort string, maxTurns int) {
	v.modelName(field.plus("model"), model)
	v.modelName(field.plus("fallbackModel"), fallback)
	if effort != "" {
		v.oneOf(field.plus("effort"), effort, efforts...)
	}
	v.between(field.plus("maxTurns"), maxTurns, 0, 100_000)
}

// prompt checks a group's own text, or where it is.
func (v *validator) prompt(field Path, g Group) {
	if p := CheckPrompt(g.Prompt); p != "" {
		v.add(field.plus("prompt"), "a text of at most 64 KB", p, "")
	}
	if g.PromptFile == "" {
		return
	}
	if g.Prompt != "" {
		v.add(field.plus("promptFile"), "prompt or promptFile", "both", "remove one of them")
	}
	for part := range strings.SplitSeq(g.PromptFile, "/") {
		if !safeElement(part) {
			v.add(field.plus("promptFile"), "a file in the folder of the configuration, without \"..\"", quote(g.PromptFile), "write it as prompts/NAME.md")
			return
		}
	}
}

// CheckPrompt says what keeps a text from being a prompt, "" for nothing.
func CheckPrompt(text string) string {
	switch {
	case len(text) > maxPrompt:
		return "a longer one"
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "something that is no text"
	}
	return ""
}
