// Package nanoclaw is the repository as a whole: it has no code, and the tests beside this
// file hold the rules that every package keeps. The program is cmd/nanoclaw.
package nanoclaw
